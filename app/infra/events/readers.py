"""Whoever follows: a bounded queue that is filled for him, and the places up to which he has read."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from app.infra.events.ports import RunEvent

MAX_WAITING = 1000
MAX_WAITING_BYTES = 1024 * 1024


@dataclass(slots=True, eq=False)
class Reader:
    """What waits for one reader. It holds references: many readers of one run share its events.

    `has_missed`: more came than is kept, so what waited was let go of, and the reader is to read by itself or to be cut
    off. A new reader has missed everything.
    """

    max_waiting: int = MAX_WAITING
    max_waiting_bytes: int = MAX_WAITING_BYTES
    has_missed: bool = True
    _waiting: deque[tuple[RunEvent, int]] = field(default_factory=deque)
    _bytes: int = 0
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def push(self, event: RunEvent, size_bytes: int) -> None:
        if self.has_missed:
            return
        is_too_large = self._waiting and self._bytes + size_bytes > self.max_waiting_bytes
        if len(self._waiting) >= self.max_waiting or is_too_large:
            self.has_missed = True
            self._waiting.clear()
            self._bytes = 0
        else:
            self._waiting.append((event, size_bytes))
            self._bytes += size_bytes
        self._news.set()

    async def events(self) -> AsyncGenerator[RunEvent]:
        """Yield what comes, until something was missed."""
        while not self.has_missed:
            if self._waiting:
                event, size_bytes = self._waiting.popleft()
                self._bytes -= size_bytes
                yield event
            else:
                self._news.clear()
                await self._news.wait()

    def begin_anew(self) -> None:
        """Forget that something was missed: it is about to be read."""
        self.has_missed = False
