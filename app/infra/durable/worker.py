"""A worker: takes runs, has them handled, and ends them, hands them back or lets them wait.

Each run has a task of its own here, which outlives its handler: whatever the handler does, the run gets a verdict.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from app.infra.db.engine import Database
from app.infra.db.errors import StorageUnavailable
from app.infra.db.hints import LOOK, PostgresHints
from app.infra.durable.channels import CANCELS, RUNS
from app.infra.durable.claims import Claimed, claim
from app.infra.durable.conclusions import Conclusions
from app.infra.durable.context import PostgresRunContext
from app.infra.durable.expiries import requeue_expired, requeue_left
from app.infra.durable.handling import handled, say_what_broke
from app.infra.durable.heart import Heart
from app.infra.durable.options import WorkerOptions
from app.infra.durable.ownership import Ownership, Tally
from app.infra.durable.ports import Handlers, RunError, RunState
from app.infra.durable.verdicts import Case, End, Outcome, Simply, Stop, Verdict, judge
from app.infra.durable.writes import Writes
from app.infra.events.channel import EVENTS, telling, word_of
from app.infra.events.ports import EventType
from app.kernel.ids import RunId

FASTEST_SWEEP_S = 0.5
DRAIN_MARGIN_S = 5.0

log = structlog.get_logger()


class HeartStopped(RuntimeError):
    """Nobody says any more that this worker's runs are alive; it is to be started again."""


@dataclass(slots=True)
class _Running:
    """A run that is being handled here. `news` is set when the handler has ended, or was told to."""

    claimed: Claimed
    own: Ownership
    context: PostgresRunContext
    handler: asyncio.Task[Outcome]
    news: asyncio.Event
    stop: Stop | None = None


@dataclass(slots=True)
class PostgresWorker:
    """Concurrency: `work` runs once a process, and the hints' `follow` beside it."""

    database: Database
    hints: PostgresHints
    handlers: Handlers
    options: WorkerOptions
    tally: Tally
    _running: dict[RunId, _Running] = field(init=False, default_factory=dict)
    _conductors: set[asyncio.Task[Any]] = field(init=False, default_factory=set)  # Any: some give a word, some nothing
    _news: asyncio.Event = field(init=False, default_factory=asyncio.Event)
    _heart: Heart | None = field(init=False, default=None)
    _is_draining: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self.hints.hear(RUNS, lambda _: self._news.set())
        self.hints.hear(CANCELS, self._hear_cancels)

    async def work(self) -> None:
        heart = self._heart = Heart(
            self.database.options,
            lease_s=self.options.lease_s,
            beat_s=self.options.beat_s,
            on_lost=self._lose,
            on_cancelled=lambda own: self._stop(own.run_id, Stop.CANCELLED),
        )
        self._is_draining = False
        heart.start()
        try:
            async with asyncio.TaskGroup() as runs:
                try:
                    async with asyncio.TaskGroup() as loops:
                        loops.create_task(self._sweep())
                        loops.create_task(self._take(runs))
                finally:
                    await self._drain()
        finally:
            await heart.stop()

    async def _take(self, runs: asyncio.TaskGroup) -> None:
        while True:
            self._news.clear()
            may_be_more = await asyncio.shield(self._kept(runs, self._take_some(runs)))
            if not may_be_more:
                await _wait(self._news, random.uniform(0.8, 1.2) * self.options.poll_s)  # noqa: S311 not a secret

    async def _take_some(self, runs: asyncio.TaskGroup) -> bool:
        """Take what there is room for, and tell whether there may be more of it now.

        To be done to its end, or what was taken would lie until its lease is over.
        """
        free = self.options.slots - len(self._running)
        if free <= 0:
            return False
        since_s = time.monotonic()
        try:
            taken = await claim(self.database, list(self.handlers), self.options, free=free)
        except StorageUnavailable as lost:
            log.warning("worker.found_no_database", **lost.evidence)
            return False
        for claimed in taken:
            self._begin(runs, claimed, since_s)
        return len(taken) == free

    def _begin(self, runs: asyncio.TaskGroup, claimed: Claimed, since_s: float) -> None:
        job = claimed.job
        own = Ownership(job.id, job.epoch, self.options.lease_s, self.tally)
        own.prolong(since_s)
        self._heart_of(own).take(own)
        early = _early_verdict(claimed, self.options, is_draining=self._is_draining)
        if claimed.is_news and early is None:
            self._tell_of_start(claimed)
        if early is not None:
            self._kept(runs, self._conclude(early, claimed, own))
            return
        context = PostgresRunContext.of(
            job, own, Writes(runs), self.database, self.hints, last=claimed.seq, version=self.options.version
        )
        handler = runs.create_task(handled(self.handlers[job.kind], context))
        running = self._running[job.id] = _Running(claimed, own, context, handler, asyncio.Event())
        handler.add_done_callback(lambda _: running.news.set())
        self._kept(runs, self._conduct(running))

    def _tell_of_start(self, claimed: Claimed) -> None:
        word = word_of(claimed.job.id, claimed.job.chat_id)
        if self.hints.is_idle:
            word = telling(word, seq=claimed.seq, at=claimed.at, types=[EventType.RUN_STARTED], documents=["{}"])
        self.hints.send(EVENTS, word)

    async def _conduct(self, running: _Running) -> None:
        """Wait for the handler, no longer than it may take once it was told to stop; then see to the run."""
        await running.news.wait()
        if not running.handler.done():
            patience_s = self.options.drain_s if running.stop is Stop.DRAINED else self.options.cancel_s
            await asyncio.wait([running.handler], timeout=patience_s)
        outcome = running.handler.result() if running.handler.done() else None
        if outcome is None:
            log.error("run.would_not_stop", run_id=str(running.own.run_id), kind=running.claimed.job.kind)
        await running.context.writes.finished()
        case = Case(
            outcome,
            running.stop,
            running.own.is_fenced,
            running.context.suspension,
            running.claimed.job.attempt,
            running.claimed.max_attempts,
        )
        say_what_broke(case, running.claimed.job, of=running.claimed.max_attempts)
        await self._conclude(judge(case, self.options), running.claimed, running.own)

    async def _conclude(self, verdict: Verdict, claimed: Claimed, own: Ownership) -> None:
        try:
            await Conclusions(self.database, self.hints, self.handlers, self.options).carry_out(verdict, claimed, own)
        finally:
            self._heart_of(own).let_go(own)
            if (running := self._running.get(own.run_id)) and running.own is own:
                del self._running[own.run_id]
            self._news.set()

    async def _sweep(self) -> None:
        """Find the runs of dead workers. Errors: HeartStopped."""
        if self.options.predecessor:
            await self._requeue(requeue_left(self.database, self.options.predecessor))
        while True:
            await asyncio.sleep(random.uniform(0.8, 1.2) * max(FASTEST_SWEEP_S, self.options.beat_s))  # noqa: S311
            if self._heart is not None and self._heart.has_stopped:
                raise HeartStopped
            await self._requeue(requeue_expired(self.database))

    async def _requeue(self, finding: Awaitable[int]) -> None:
        try:
            found = await finding
        except StorageUnavailable:
            return
        if found:
            log.warning("worker.found_runs_of_the_dead", runs=found)
            self.tally.lease_expiries += found
            self.hints.send(RUNS, LOOK)
            self._news.set()

    async def _drain(self) -> None:
        """Stop every handler and hand its run back; whoever does not manage to in time loses the lease later."""
        self._is_draining = True
        for run_id in list(self._running):
            self._stop(run_id, Stop.DRAINED)
        end_s = time.monotonic() + self.options.drain_s + DRAIN_MARGIN_S
        while self._conductors and time.monotonic() < end_s:  # one that was taking runs hands them back, too
            await asyncio.wait(self._conductors, timeout=end_s - time.monotonic())

    def _stop(self, run_id: RunId, why: Stop) -> None:
        running = self._running.get(run_id)
        if running is None or running.stop is not None or running.handler.done():
            return
        running.stop = why
        running.own.is_cancelled = why is Stop.CANCELLED
        running.handler.cancel(why.value)
        running.news.set()

    def _lose(self, own: Ownership) -> None:
        running = self._running.get(own.run_id)
        if running is None or running.own is not own or running.handler.done():  # its end is guarded by itself
            return
        log.warning("run.lost", run_id=str(own.run_id), epoch=own.epoch)
        own.is_fenced = True
        running.stop = None
        self._stop(own.run_id, Stop.LOST)

    def _hear_cancels(self, words: Sequence[str]) -> None:
        if self._heart is None:
            return
        if LOOK in words:
            self._heart.beat_soon()
        for run_id in [one for one in self._running if one.hex in words]:
            self._stop(run_id, Stop.CANCELLED)

    def _heart_of(self, own: Ownership) -> Heart:
        if self._heart is None:
            raise RuntimeError(f"the worker that runs {own.run_id} has no heart")
        return self._heart

    def _kept[T](self, group: asyncio.TaskGroup, work: Coroutine[None, None, T]) -> asyncio.Task[T]:
        """Start what a drain waits for."""
        task = group.create_task(work)
        self._conductors.add(task)
        task.add_done_callback(self._conductors.discard)
        return task


def _early_verdict(claimed: Claimed, options: WorkerOptions, *, is_draining: bool) -> Verdict | None:
    """See what is to be done with a run without handling it."""
    if claimed.is_cancelled:
        return End(RunState.INTERRUPTED)
    if claimed.crashes >= options.max_crashes:
        detail = f"{claimed.crashes} workers were lost while they did this run."
        return End(RunState.FAILED, error=RunError("run-crashed", detail))
    return Simply.HAND_BACK if is_draining else None


async def _wait(news: asyncio.Event, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await news.wait()
    except TimeoutError:
        return
