"""Fire what is due: each slot of each schedule once, whoever else looks at the same time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from app.features.tasks.domain.firing import Beside, Decision, Slot, SlotOutcome, decide, digest_of
from app.features.tasks.domain.schedule import ScheduleUnreadable
from app.features.tasks.domain.task import Task, TaskType, Trigger, lane_of
from app.features.tasks.domain.timing import schedule_of, since_of
from app.features.tasks.ports import Due, Moved, Noted, SlotStore
from app.features.tasks.use_cases.start_task import Start, StartTask
from app.infra.durable.ports import Engine, RunNotFound, RunQueue
from app.kernel.ids import RunId
from app.kernel.transaction import Begin, Tx

LOOKED_AT = 1000
"""tasks that are looked at together, the ones that are due longest"""
AT_ONCE = 250
"""of which so many are fired in a transaction; others may have the rest in hand. Each look passes over the entries of
the index that are dead already, so a few large ones cost less; each task holds a lock of the server's table"""
BUSY_S = 0.1
"""until one looks again at what others have in hand"""
CANCELLED = "the next slot of the task's schedule has come"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Batch:
    fired: Sequence[RunId] = ()
    cancels: Sequence[RunId] = ()
    is_anything: bool = False


@dataclass(frozen=True, slots=True)
class FireSlots:
    """Write down slots, put their runs and move the schedules on, many tasks a transaction; then offer the runs.

    Gives the seconds until the next slot, None where there is none. Concurrency: any number may, in any process.
    Errors: StorageUnavailable; nothing of the batch has happened then.
    """

    begin: Begin
    slots: SlotStore
    queue: RunQueue
    start: StartTask
    engine: Engine

    async def __call__(self) -> float | None:
        while True:
            async with self.begin() as tx:
                wait_s = await self.slots.wait_s(tx)
            if wait_s is None or wait_s > 0:
                return wait_s
            async with self.begin() as tx:
                batch = await self._fire_some(tx)
            await self.engine.dispatch_many(batch.fired)
            await self._cancel(batch.cancels)
            if not batch.is_anything:
                return BUSY_S

    async def _fire_some(self, tx: Tx) -> _Batch:
        found = await self.slots.due(tx, at_most=LOOKED_AT)
        lanes = await self.queue.take_free(tx, [lane_of(one) for one in found], at_most=AT_ONCE)
        held = set(lanes)
        dues = await self.slots.hold(tx, [one for one in found if lane_of(one) in held])
        if not dues:
            return _Batch()
        decided = await self._decide(tx, dues)
        runs = await self._write(tx, decided)
        cancels = [run_id for _, decision in decided for run_id in decision.cancels]
        return _Batch(runs, cancels, is_anything=True)

    async def _decide(self, tx: Tx, dues: Sequence[Due]) -> Sequence[tuple[Task, Decision]]:
        lanes = {due.task.id: lane_of(due.task.id) for due in dues}
        since = {due.task.id: since_of(due.task) for due in dues if _has_history(due.task)}
        beside = await self.slots.beside(tx, lanes, since)
        return [(due.task, _decided(due, beside[due.task.id])) for due in dues]

    async def _write(self, tx: Tx, decided: Sequence[tuple[Task, Decision]]) -> Sequence[RunId]:
        noted = [(task, _noted(task, slot)) for task, decision in decided for slot in decision.slots]
        claimed = await self.slots.claim(tx, [one for _, one in noted])
        fired = [
            (task, one)
            for task, one in noted
            if one.slot.outcome is SlotOutcome.FIRED and (one.task_id, one.slot.at) in claimed
        ]
        runs = await self.start.put_many(tx, [_start(task, one.slot.at) for task, one in fired])
        await self.slots.note_runs(tx, [one for _, one in fired], runs)
        await self.slots.move(
            tx, [Moved(task.id, decision.next_run_at) for task, decision in decided if not decision.cancels]
        )
        return runs

    async def _cancel(self, runs: Sequence[RunId]) -> None:
        for run_id in runs:
            try:
                await self.engine.cancel(run_id, reason=CANCELLED)
            except RunNotFound:
                continue


def _has_history(task: Task) -> bool:
    """Whether it matters what became of earlier slots."""
    return task.task_type is TaskType.HEARTBEAT or bool((task.settings or {}).get("skip_unchanged"))


def _decided(due: Due, beside: Beside) -> Decision:
    try:
        schedule = schedule_of(due.task)
    except ScheduleUnreadable as error:  # written by another version; it is shown as disabled
        log.warning("schedule.unreadable", task_id=str(due.task.id), problem=str(error))
        return Decision()
    return decide(due.task, schedule, due=due.slot, now=due.now, beside=beside)


def _noted(task: Task, slot: Slot) -> Noted:
    return Noted(task.id, slot, digest_of(task) if slot.outcome is SlotOutcome.FIRED else "")


def _start(task: Task, slot: datetime) -> Start:
    trigger = Trigger.HEARTBEAT if task.task_type is TaskType.HEARTBEAT else Trigger.SCHEDULE
    return Start(task, trigger, scheduled_for=slot)
