"""The limits' background work: what was let in is booked with the ledger, what will be needed is leased from it.

Nothing here is waited for by a request. Rows without a limit, and callers far below theirs, cost no query.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from uuid import UUID, uuid4

import structlog

from app.edge.rate_limit_counts import Key, RateLimiter
from app.edge.rate_limit_ledger import QuotaLedger
from app.edge.rate_limit_quota import SYNC_S, Quota
from app.kernel.clock import Clock
from app.kernel.errors import Unavailable

BATCH_KEYS = 256
PAUSE_S = 0.002
"""Between two bookings, however hurried."""
AWAY_PAUSE_S = 1.0
ANSWER_WITHIN_S = 2.0
ATTEND_S = 10
FORGET_EVERY = 6
"""Bookings of a bucket that is full again are removed this often, in times of `ATTEND_S`."""

log = structlog.get_logger()


@dataclass(slots=True)
class Bookkeeper:
    """`siblings` are the worker processes of this host: the least that share the ledger."""

    limiter: RateLimiter
    ledger: QuotaLedger
    clock: Clock
    siblings: int = 1
    process: UUID = field(default_factory=uuid4)

    def __post_init__(self) -> None:
        self.limiter.fleet.processes = self.siblings

    async def book(self) -> None:
        """Book whatever is due, until cancelled."""
        limiter = self.limiter
        while True:
            await limiter.is_asked.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(SYNC_S):
                    await limiter.is_hurried.wait()
            await self.book_once()
            await asyncio.sleep(AWAY_PAUSE_S if limiter.fleet.is_ledger_away else PAUSE_S)

    async def attend(self) -> None:
        """Learn how many processes share the ledger, from the first limited request on, until cancelled."""
        await self.limiter.is_used.wait()
        try:
            for rounds in itertools.count(1):
                await self._attend()
                if rounds % FORGET_EVERY == 0:
                    await self._tell(self.ledger.forget_full())
                await asyncio.sleep(ATTEND_S)
        finally:  # so that those who stay have the whole limit at once
            await self._tell(self.ledger.leave(self.process))

    async def book_once(self) -> None:
        limiter = self.limiter
        due, limiter.due = limiter.due, {}
        limiter.is_asked.clear()
        limiter.is_hurried.clear()
        for pairs in itertools.batched(due.items(), BATCH_KEYS):
            await self._book(pairs)

    async def _book(self, pairs: Sequence[tuple[Key, Quota]]) -> None:
        now_s = self.clock.monotonic_s()
        shifts_s: dict[bytes, float] = {}
        asked: dict[bytes, tuple[Key, Quota]] = {}
        for key, quota in pairs:
            quota.is_due = False
            shift_s = quota.plan(now_s, self.limiter.fleet)
            if shift_s is not None:
                name = ledger_name(key)
                shifts_s[name] = shift_s
                asked[name] = (key, quota)
        if shifts_s:
            await self._settle(shifts_s, asked)
        for key, quota in pairs:
            if quota.holds_others or (quota.unbooked and self.limiter.fleet.is_ledger_away):
                self._keep_due(key, quota)

    async def _settle(self, shifts_s: dict[bytes, float], asked: dict[bytes, tuple[Key, Quota]]) -> None:
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                ahead_s = await self.ledger.book(shifts_s)
        except (Unavailable, TimeoutError) as error:
            for _, quota in asked.values():
                quota.give_up()
            self._note_ledger(is_away=True, why=error)
            return
        self._note_ledger(is_away=False)
        now_s = self.clock.monotonic_s()
        for name, (_, quota) in asked.items():
            quota.settle(ahead_s[name], now_s)

    def _keep_due(self, key: Key, quota: Quota) -> None:
        if not quota.is_due:
            quota.is_due = True
            self.limiter.due[key] = quota
            self.limiter.is_asked.set()

    async def _attend(self) -> None:
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                present = await self.ledger.attend(self.process)
        except (Unavailable, TimeoutError) as error:
            self._note_ledger(is_away=True, why=error)
            return
        self._note_ledger(is_away=False)
        self.limiter.fleet.processes = max(self.siblings, present)

    async def _tell(self, what: Awaitable[None]) -> None:
        """Say something the ledger can do without."""
        with suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(ANSWER_WITHIN_S):
                await what

    def _note_ledger(self, *, is_away: bool, why: Exception | None = None) -> None:
        fleet = self.limiter.fleet
        if is_away and not fleet.is_ledger_away:
            log.warning("quotas.ledger_lost", processes=fleet.processes, cause=repr(why))
        elif fleet.is_ledger_away and not is_away:
            log.info("quotas.ledger_found")
        fleet.is_ledger_away = is_away


def ledger_name(key: Key) -> bytes:
    """Name a bucket in 16 bytes that tell nobody whose it is, however long the caller's own name is."""
    return blake2b("\0".join(key).encode(), digest_size=16).digest()
