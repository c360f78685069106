"""One client on a chat's WebSocket: the events of all its runs go out, and what the client asks comes in.

Facts
- What is sent waits while the client does not read (the server's flow control); what waits behind it is in the event
  log's bounded queue for this reader, and when that is full the client is cut off and told its place.
- A close reason has at most 123 bytes (RFC 6455 §5.5); ours holds the cursor to read on from.
- Close codes: 1012 the server goes, 1013 too slow (IANA WebSocket Close Code registry); 1008 is the edge's, when the
  token has ended.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import cast

import msgspec

from app.features.chats.domain.turn import Wish
from app.features.chats.schemas import MessageOut
from app.features.chats.use_cases.exchange_message import ExchangeMessage
from app.features.runs.ports import RunStore
from app.features.runs.schemas import RunOut
from app.features.runs.use_cases.cancel_run import CancelRun
from app.infra.db.errors import StorageUnavailable
from app.infra.durable.ports import Engine
from app.infra.events.ports import LAST_WORDS, EventLog, ReaderTooSlow, RunsCursor
from app.infra.wire.problems import problem_of
from app.kernel.clock import Clock
from app.kernel.errors import Fault, FieldError, ValidationFailed
from app.kernel.identity import Principal
from app.kernel.ids import ChatId, RunId
from app.kernel.transaction import Begin
from app.kernel.values import Json
from app.surfaces.streams import frames
from app.surfaces.streams.open_streams import Ending, OpenStreams

LEFT = "its client left"
CLOSE_CODES: Mapping[Ending, int] = {Ending.DRAINED: 1012, Ending.TOO_SLOW: 1013, Ending.LOST: 1011}

type Say = Callable[[str], Awaitable[None]]
type Hear = Callable[[], Awaitable[str | None]]


@dataclass(frozen=True, slots=True)
class ChatDoor:
    """What all conversations share."""

    begin: Begin
    runs: RunStore
    engine: Engine
    log: EventLog
    clock: Clock
    exchange: ExchangeMessage
    cancel: CancelRun
    streams: OpenStreams


@dataclass(slots=True)
class ChatSocket:
    """`hear` gives the client's next text, None when it is gone; `say` raises OSError when it is. `run` once."""

    door: ChatDoor
    who: Principal
    chat_id: ChatId
    request_id: str
    hear: Hear
    say: Say
    _cursor: RunsCursor | None = None
    _ending: Ending | None = None
    _feeding: asyncio.Task[None] | None = None
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _own: set[RunId] = field(default_factory=set)
    """runs that are to end with this client"""

    async def run(self, after: RunsCursor | None) -> tuple[Ending, RunsCursor | None]:
        """Converse until there is a reason to end; tell it, and behind which place the client may read on."""
        with self.door.streams.counted("websocket", self._wake):
            async with asyncio.TaskGroup() as group:
                self._feeding = group.create_task(self._feed(after))
                listening = group.create_task(self._listen(group))
                ending = await self._until_ending()
                listening.cancel()
                self._feeding.cancel()
        self.door.streams.ended["websocket", ending] += 1
        if ending is Ending.GONE:
            for run_id in self._own:
                await self.door.engine.cancel(run_id, reason=LEFT)
        return ending, self._cursor

    async def _until_ending(self) -> Ending:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._ending is not None:
                return self._ending
            if self.door.streams.are_to_end:
                return Ending.DRAINED

    def _end(self, ending: Ending) -> None:
        self._ending = self._ending or ending
        self._wake.set()

    # --- out

    async def _feed(self, after: RunsCursor | None) -> None:
        self._cursor = after
        try:
            async with aclosing(self.door.log.follow_chat(self.chat_id, after=after)) as events:
                async for event in events:
                    await self.say(frames.write_event(event))
                    self._cursor = event.cursor
                    if event.event.type in LAST_WORDS:
                        self._own.discard(event.event.run_id)
        except ReaderTooSlow:
            self._end(Ending.TOO_SLOW)
        except StorageUnavailable:
            self._end(Ending.LOST)
        except OSError:
            self._end(Ending.GONE)

    # --- in

    async def _listen(self, group: asyncio.TaskGroup) -> None:
        try:
            while (text := await self.hear()) is not None:
                await self.say(frames.write_frame(await self._answer(group, text)))
        except OSError:
            pass
        self._end(Ending.GONE)

    async def _answer(self, group: asyncio.TaskGroup, text: str) -> frames.ServerFrame:
        frame: frames.ClientFrame | None = None
        try:
            frame = frames.read_frame(text)
            match frame:
                case frames.Send():
                    return await self._send(frame)
                case frames.Cancel():
                    return await self._cancel(frame)
                case frames.Subscribe():
                    return await self._subscribe(group, frame)
                case frames.Ping():
                    return frames.Pong(id=frame.id, at=self.door.clock.now())
        except Fault as fault:
            problem = problem_of(fault, instance=f"/api/v1/chats/{self.chat_id}/events", request_id=self.request_id)
            return frames.Refused(id=None if frame is None else frame.id, problem=msgspec.Raw(problem.body))

    async def _send(self, frame: frames.Send) -> frames.Sent:
        wish = Wish(
            text=frame.content,
            waits=frame.on_busy == "queue",
            is_cancelled_on_leaving=frame.on_disconnect == "cancel",
            context=cast("Mapping[str, Json]", frame.context_data),
            request_id=self.request_id,
        )
        begun = await self.door.exchange(self.who, self.chat_id, wish)
        if wish.is_cancelled_on_leaving:
            self._own.add(begun.run_id)
        return frames.Sent(id=frame.id, run_id=str(begun.run_id), message=MessageOut.of(begun.question))

    async def _cancel(self, frame: frames.Cancel) -> frames.Cancelled:
        run_id = frame.run_id
        if run_id is None:
            async with self.door.begin() as tx:
                unfinished = await self.door.runs.unfinished(tx, self.chat_id)
            run_id = unfinished[0].id if unfinished else None
        if run_id is None:
            return frames.Cancelled(id=frame.id, run=None)
        return frames.Cancelled(id=frame.id, run=RunOut.of(await self.door.cancel(self.who, RunId(run_id))))

    async def _subscribe(self, group: asyncio.TaskGroup, frame: frames.Subscribe) -> frames.Subscribed:
        after = await place_of(self.door.log, self.chat_id, frame.after)
        if self._feeding is not None:
            self._feeding.cancel()
            await asyncio.wait([self._feeding])
        self._feeding = group.create_task(self._feed(after))
        return frames.Subscribed(id=frame.id)


async def place_of(log: EventLog, chat_id: ChatId, text: str) -> RunsCursor | None:
    """Read a cursor: none is in front of everything, `now` behind all that is over. Errors: ValidationFailed."""
    if not text:
        return None
    if text == frames.NOW:
        return await log.chat_end(chat_id)
    try:
        return RunsCursor.parse(text)
    except ValueError:
        wrong = FieldError("after", f"must be RUN_ID:SEQ, or {frames.NOW}")
        raise ValidationFailed("Some fields are not valid.", errors=[wrong]) from None
