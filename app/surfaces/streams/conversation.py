"""One client on a WebSocket: the events it follows go out, and what it asks comes in. What either is, its `Desk` knows.

Facts
- What is sent waits while the client does not read (the server's flow control); what waits behind it is in the event
  log's bounded queue for this reader, and when that is full the client is cut off and told its place.
- Close codes: 1012 the server goes, 1013 too slow (IANA WebSocket Close Code registry); 1008 is the edge's, when the
  token has ended.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Protocol

from app.infra.db.errors import StorageUnavailable
from app.infra.events.ports import PlacedEvent, ReaderTooSlow, RunsCursor
from app.surfaces.streams.open_streams import Ending, OpenStreams

CLOSE_CODES: Mapping[Ending, int] = {Ending.DRAINED: 1012, Ending.TOO_SLOW: 1013, Ending.LOST: 1011}

type Say = Callable[[str], Awaitable[None]]
type Hear = Callable[[], Awaitable[str | None]]


class Desk(Protocol):
    """One kind of conversation, with one client."""

    def follow(self, after: RunsCursor | None) -> AsyncGenerator[PlacedEvent]:
        """Yield what is to be told; errors as of `EventLog.follow`."""
        ...

    async def write(self, event: PlacedEvent) -> str | None:
        """Write an event as this client gets it; None where it does not want it."""
        ...

    async def answer(self, conversation: "Conversation", text: str) -> str:
        """Do what a frame asks, and write the reply; a refusal is one, too."""
        ...

    async def leave(self) -> None:
        """The client has gone."""
        ...


@dataclass(slots=True)
class Conversation:
    """`hear` gives the client's next text, None when it is gone; `say` raises OSError when it is. `run` once."""

    streams: OpenStreams
    desk: Desk
    hear: Hear
    say: Say
    cursor: RunsCursor | None = None
    _ending: Ending | None = None
    _feeding: asyncio.Task[None] | None = None
    _group: asyncio.TaskGroup | None = None
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, after: RunsCursor | None) -> tuple[Ending, RunsCursor | None]:
        """Converse until there is a reason to end; tell it, and behind which place the client may read on."""
        with self.streams.counted("websocket", self._wake):
            async with asyncio.TaskGroup() as group:
                self._group = group
                self._feeding = group.create_task(self._feed(after))
                listening = group.create_task(self._listen())
                ending = await self._until_ending()
                listening.cancel()
                self._feeding.cancel()
        self.streams.ended["websocket", ending] += 1
        if ending is Ending.GONE:
            await self.desk.leave()
        return ending, self.cursor

    async def begin_anew(self, after: RunsCursor | None) -> None:
        """Follow from another place from now on."""
        if self._feeding is not None:
            self._feeding.cancel()
            await asyncio.wait([self._feeding])
        if self._group is not None:
            self._feeding = self._group.create_task(self._feed(after))

    async def _until_ending(self) -> Ending:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._ending is not None:
                return self._ending
            if self.streams.are_to_end:
                return Ending.DRAINED

    def _end(self, ending: Ending) -> None:
        self._ending = self._ending or ending
        self._wake.set()

    async def _feed(self, after: RunsCursor | None) -> None:
        self.cursor = after
        try:
            async with aclosing(self.desk.follow(after)) as events:
                async for event in events:
                    text = await self.desk.write(event)
                    if text is not None:
                        await self.say(text)
                    self.cursor = event.cursor
        except ReaderTooSlow:
            self._end(Ending.TOO_SLOW)
        except StorageUnavailable:
            self._end(Ending.LOST)
        except OSError:
            self._end(Ending.GONE)

    async def _listen(self) -> None:
        try:
            while (text := await self.hear()) is not None:
                await self.say(await self.desk.answer(self, text))
        except OSError:
            pass
        self._end(Ending.GONE)
