"""Keep the schedules: what every worker process does in the background, so that somebody always does."""

import random
import time
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from app.features.tasks.ports import Alarm, SlotStore
from app.features.tasks.use_cases.fire_slots import FireSlots
from app.kernel.errors import Unavailable
from app.kernel.transaction import Begin

POLL_S = 15.0
"""however sure it is that nothing is due: a word may be lost, and a clock may be changed"""
AWAY_S = 1.0
FORGET_EVERY_S = 3600.0
SLOTS_ARE_KEPT = timedelta(days=30)
"""for as long a slot that was fired is not fired again, whatever becomes of the clock"""
FORGOTTEN_AT_ONCE = 5000

log = structlog.get_logger()


@dataclass(slots=True)
class KeepSchedules:
    """Wakes when the next slot is due, when a schedule was changed, and from time to time."""

    begin: Begin
    slots: SlotStore
    fire: FireSlots
    alarm: Alarm
    _forgets_at_s: float = field(init=False, default_factory=lambda: time.monotonic() + FORGET_EVERY_S)

    async def work(self) -> None:
        while True:
            self.alarm.heed()
            await self.alarm.wait(await self._keep())

    async def _keep(self) -> float:
        """Fire what is due, and tell for how long there is nothing to do."""
        poll_s = random.uniform(0.8, 1.2) * POLL_S  # noqa: S311 not a secret
        try:
            wait_s = await self.fire()
            await self._forget()
        except Unavailable as lost:
            log.warning("schedules.found_no_database", **lost.evidence)
            return AWAY_S
        return poll_s if wait_s is None else min(wait_s, poll_s)

    async def _forget(self) -> None:
        if time.monotonic() < self._forgets_at_s:
            return
        async with self.begin() as tx:
            count = await self.slots.forget(tx, older_than=SLOTS_ARE_KEPT, at_most=FORGOTTEN_AT_ONCE)
        if count < FORGOTTEN_AT_ONCE:
            self._forgets_at_s = time.monotonic() + FORGET_EVERY_S
