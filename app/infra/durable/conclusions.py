"""Carries out a verdict: again and again while the database is away, and never after the run became another's.

A run that cannot be settled within a minute or a lease is let go of, and tried again later, ever more seldom.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

import structlog

from app.infra.db.engine import Database
from app.infra.db.errors import StorageUnavailable
from app.infra.db.hints import PostgresHints
from app.infra.durable import releases
from app.infra.durable.channels import RUNS
from app.infra.durable.claims import Claimed
from app.infra.durable.endings import end_own
from app.infra.durable.options import WorkerOptions
from app.infra.durable.ownership import Ownership
from app.infra.durable.ports import Ended, Handlers, RunState
from app.infra.durable.releases import Wait
from app.infra.durable.verdicts import End, Retry, Simply, Verdict, pause_s
from app.infra.events.channel import EVENTS, word_of
from app.kernel.transaction import Tx

AGAIN_S = 0.25
PATIENCE_S = 60

log = structlog.get_logger()

type Change = Callable[[Tx], object]


@dataclass(frozen=True, slots=True)
class Conclusions:
    database: Database
    hints: PostgresHints
    handlers: Handlers
    options: WorkerOptions

    async def carry_out(self, verdict: Verdict, claimed: Claimed, own: Ownership) -> None:
        """Errors: none; what `settle` raises is logged."""
        job = claimed.job
        end_s = time.monotonic() + max(PATIENCE_S, self.options.lease_s)
        try:
            while not own.is_fenced:
                try:
                    await self._try(verdict, claimed, own)
                except StorageUnavailable:
                    if time.monotonic() > end_s:
                        raise
                    await asyncio.sleep(AGAIN_S)
                else:
                    break
        except Exception:
            log.exception("run.unsettled", run_id=str(job.id), kind=job.kind, crashes=claimed.crashes + 1)
            await self._let_go(claimed)
        self.hints.send(EVENTS, word_of(job.id, job.chat_id))

    async def _try(self, verdict: Verdict, claimed: Claimed, own: Ownership) -> None:
        if verdict is Simply.LEAVE:
            return
        if isinstance(verdict, End):
            await self._end(verdict, claimed)
            return
        async with self.database.begin() as tx:
            is_released = await self._release(tx, verdict, claimed)
        # it is another's by now, or it is to be cancelled
        if not is_released and not await self._end(End(RunState.INTERRUPTED), claimed):
            own.fence()

    async def _end(self, verdict: End, claimed: Claimed) -> bool:
        ended = Ended(claimed.job, verdict.state, verdict.result, verdict.error)
        async with self.database.begin() as tx:
            family = await end_own(tx, self.handlers[claimed.job.kind], ended)
        if family is None:
            return False
        family.tell(self.hints)
        return True

    async def _release(self, tx: Tx, verdict: Retry | Wait | Simply, claimed: Claimed) -> bool:
        job = claimed.job
        match verdict:
            case Retry():
                return await releases.retry(tx, job, delay_s=verdict.delay_s, of=claimed.max_attempts)
            case Wait():
                return await releases.wait(tx, job, verdict)
            case Simply.HAND_BACK:
                is_done = await releases.hand_back(tx, job)
                self.hints.send(RUNS, job.id.hex)
                return is_done
            case Simply.LEAVE:
                return True
        assert_never(verdict)

    async def _let_go(self, claimed: Claimed) -> None:
        delay_s = pause_s(claimed.crashes + 1, self.options)
        try:
            async with self.database.begin() as tx:
                await releases.crashed(tx, claimed.job, delay_s=delay_s)
        except StorageUnavailable as lost:  # its lease runs out instead
            log.warning("run.left", run_id=str(claimed.job.id), **lost.evidence)
