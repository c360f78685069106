"""Word that a schedule was changed, from whichever process changed it to those that wait for the next slot."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

from app.infra.db.hints import LOOK, PostgresHints

SCHEDULES = "portico_schedules"


@dataclass(slots=True)
class HintedAlarm:
    """Concurrency: one a process."""

    hints: PostgresHints
    _news: asyncio.Event = field(init=False, default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.hints.hear(SCHEDULES, lambda _: self._news.set())

    def ring(self) -> None:
        self.hints.send(SCHEDULES, LOOK)

    def heed(self) -> None:
        self._news.clear()

    async def wait(self, timeout_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
