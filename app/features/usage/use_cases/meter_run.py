"""Let a run spend within its budgets, and write down what it spends."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from uuid import UUID, uuid4

import anyio
import structlog

from app.agents.turns import BudgetReached, Spending, Usage
from app.features.usage.domain.budget import UNITS, Budgets, Limit, Payer, amounts_of, free_again, said_of
from app.features.usage.domain.spent import Settlement
from app.features.usage.ports import Full, Ledger, Reservation
from app.kernel.clock import Clock
from app.kernel.errors import Unavailable

LONGEST_CALL_S = 600
"""of a turn, and so of any call in it: what is set aside of a budget of seconds"""
PATIENCE_S = 30
FIRST_POLL_S = 0.05
LONGEST_POLL_S = 1.0
LIFE = timedelta(minutes=15)
"""of a reservation whose process died, and whose run never ended"""
GOODBYE_S = 2.0
BUSY_RETRY = timedelta(seconds=5)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class MeterRun:
    """Let one process spend for a run while it works on it; what an earlier process set aside is given back first.

        async with self.meter(payer, is_resumed=False) as spending:
            await self.agents.answer(..., spending=spending)

    A run that works for longer than its budget of seconds is cut off in the midst of a call.
    Errors: StorageUnavailable, before anything is spent; BudgetReached.
    """

    ledger: Ledger
    budgets: Budgets
    clock: Clock
    patience_s: float = PATIENCE_S
    life: timedelta = LIFE

    @asynccontextmanager
    async def __call__(self, payer: Payer, *, is_resumed: bool) -> AsyncIterator[Spending]:
        if is_resumed:
            await self.ledger.release(payer.run_id)
        spending = RunSpending(
            self.ledger, self.budgets, self.clock, payer, self.patience_s, self.life, is_first=not is_resumed
        )
        try:
            async with spending.in_time():
                yield spending
        finally:
            with anyio.move_on_after(GOODBYE_S, shield=True):
                await spending.write_down_late()


@dataclass(frozen=True, slots=True)
class _Call:
    """One that is under way: on which day it began, and when."""

    day: date
    began_s: float


@dataclass(slots=True)
class RunSpending:
    """Implements `Spending` for one process's work on one run.

    A budget that is full for good refuses at once; one that others' calls under way fill is waited for, a while.
    What could not be written down is tried again with what comes next. Concurrency: of one task, or several.
    """

    ledger: Ledger
    budgets: Budgets
    clock: Clock
    payer: Payer
    patience_s: float
    life: timedelta
    is_first: bool = False
    session: UUID = field(default_factory=uuid4)
    _calls: dict[str, _Call] = field(default_factory=dict)
    _late: dict[str, Settlement] = field(default_factory=dict)

    @asynccontextmanager
    async def in_time(self) -> AsyncIterator[None]:
        """Cut the block off when it lasts for longer than the run may. Errors: BudgetReached."""
        claim = self.budgets.seconds_of_run(self.payer)
        limit = asyncio.timeout(None if claim is None else claim.most / UNITS[Limit.SECONDS])
        try:
            async with limit:
                yield
        except TimeoutError as error:
            if claim is None or not limit.expired():
                raise
            raise self._reached(Full(claim, claim.most, 0)) from error

    async def reserve(self, key: str, estimate: Usage) -> None:
        """Errors: BudgetReached, StorageUnavailable."""
        amounts = amounts_of(estimate, seconds=LONGEST_CALL_S)
        today = self.clock.now().date()
        claims = self.budgets.claims(self.payer, amounts, today)
        if claims:
            await self._reserve(Reservation(self.session, key, self.payer.run_id, claims, self.life, self.is_first))
            self.is_first = False
        self._calls[key] = _Call(today, self.clock.monotonic_s())

    async def settle(self, key: str, spent: Usage, *, model: str = "") -> None:
        call = self._calls.pop(key, None) or self._begin()
        milliseconds = round((self.clock.monotonic_s() - call.began_s) * 1000)
        self._late[key] = Settlement(self.payer, call.day, spent, model, milliseconds)
        await self.write_down_late()

    async def write_down_late(self) -> None:
        """Write down what was not yet; what cannot be stays for the next time."""
        try:
            while self._late:
                await self._write_down(*self._late.popitem())
        except Unavailable as error:
            log.warning("usage.late", run_id=str(self.payer.run_id), settlements=len(self._late), reason=error.reason)

    async def _write_down(self, key: str, what: Settlement) -> None:
        """Errors: StorageUnavailable, after which it is to be tried again."""
        amounts = amounts_of(what.spent, seconds=what.milliseconds / 1000)
        spent = [(claim.account, claim.amount) for claim in self.budgets.claims(self.payer, amounts, what.day)]
        try:
            await self.ledger.settle(self.session, key, spent, what)
        except BaseException:
            self._late[key] = what
            raise

    async def _reserve(self, reservation: Reservation) -> None:
        """Errors: BudgetReached, StorageUnavailable."""
        end_s, wait_s = self.clock.monotonic_s() + self.patience_s, FIRST_POLL_S
        while (full := await self.ledger.reserve(reservation)) is not None:
            if full.is_for_good or self.clock.monotonic_s() + wait_s > end_s:
                raise self._reached(full)
            await asyncio.sleep(wait_s)
            wait_s = min(LONGEST_POLL_S, wait_s * 2)

    def _begin(self) -> _Call:
        return _Call(self.clock.now().date(), self.clock.monotonic_s())

    def _reached(self, full: Full) -> BudgetReached:
        purse, limit = full.claim.account.purse, full.claim.account.limit
        log.info("budget.reached", run_id=str(self.payer.run_id), scope=purse.scope, limit=limit, most=full.claim.most)
        again = free_again(purse) if full.is_for_good else self.clock.now() + BUSY_RETRY
        wait_s = None if again is None else max(1, math.ceil((again - self.clock.now()).total_seconds()))
        return BudgetReached(
            said_of(full.claim, is_for_good=full.is_for_good),
            headers={} if wait_s is None else {"retry-after": str(wait_s)},
            evidence={"budget": purse.scope.value, "limit": limit.value, "spent": full.spent, "held": full.held},
        )
