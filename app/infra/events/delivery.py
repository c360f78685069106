"""From the hub to its readers, some at a time: a thousand who wake at once would hold up everybody else on the loop."""

import asyncio
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field

from app.infra.events.ports import RunEvent
from app.infra.events.readers import Reader

AT_ONCE = 32
MAX_WAITING = 1000
"""events; then no more are read until some have gone out"""


@dataclass(slots=True)
class Delivery:
    """Events go out in the order in which they were handed in; at once, if few readers get them and nobody waits.

    Concurrency: one a process, on its event loop; `work` runs once.
    """

    _waiting: deque[tuple[tuple[Reader, ...], RunEvent, int]] = field(default_factory=deque)
    _room: int = AT_ONCE
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _gone: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_full(self) -> bool:
        return len(self._waiting) >= MAX_WAITING

    async def has_room(self) -> None:
        """Wait until it is not full."""
        while self.is_full:
            self._gone.clear()
            await self._gone.wait()

    def hand(self, readers: Collection[Reader], event: RunEvent, size_bytes: int) -> None:
        """Give an event to those who read now; one who comes later does not get it."""
        if self._waiting or len(readers) > self._room:
            self._waiting.append((tuple(readers), event, size_bytes))
        else:
            self._room -= len(readers)
            for reader in readers:
                reader.push(event, size_bytes)
        self._news.set()

    async def work(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            await self._let_others()
            while self._waiting:
                readers, event, size_bytes = self._waiting[0]
                for reader in readers:
                    if not self._room:
                        await self._let_others()
                    self._room -= 1
                    reader.push(event, size_bytes)
                self._waiting.popleft()  # only now: what is handed in meanwhile comes behind it
                self._gone.set()

    async def _let_others(self) -> None:
        await asyncio.sleep(0)
        self._room = AT_ONCE
