"""Write down what was done where there is no transaction: a table of routes that took another's place."""

import asyncio
from collections import deque
from dataclasses import dataclass, field

import structlog

from app.kernel.audit import Act, AuditTrail
from app.kernel.errors import Unavailable
from app.kernel.transaction import Begin

QUEUE_LIMIT = 1000
RETRY_S = 1.0

log = structlog.get_logger()


@dataclass(slots=True)
class RecordLater:
    """`note` returns at once; `work` writes in order, until cancelled, and again and again while the storage is away.

    What is noted beyond the bound is logged instead. Concurrency: for one event loop.
    """

    begin: Begin
    trail: AuditTrail
    retry_s: float = RETRY_S
    _waiting: deque[Act] = field(default_factory=deque)
    _told: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, act: Act) -> None:
        if len(self._waiting) >= QUEUE_LIMIT:
            log.warning("audit.lost", action=act.action, object_id=act.object_id)
            return
        self._waiting.append(act)
        self._told.set()

    async def work(self) -> None:
        while True:
            await self._told.wait()
            self._told.clear()
            while self._waiting:
                await self._write(self._waiting[0])

    async def _write(self, act: Act) -> None:
        try:
            async with self.begin() as tx:
                await self.trail.record(tx, act)
        except Unavailable as fault:
            log.warning("audit.late", action=act.action, again_in_s=self.retry_s, **fault.evidence)
            await asyncio.sleep(self.retry_s)
        else:
            self._waiting.popleft()
