"""When tasks are due, in memory; held by the contract tests of the real one. The clock is the test's."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from app.features.tasks.domain.firing import HISTORY, Beside, Fired, Slot, Unfinished
from app.features.tasks.domain.task import Task
from app.features.tasks.domain.timing import Timing
from app.features.tasks.ports import Due, Moved, Noted
from app.kernel.ids import RunId, TaskId
from app.kernel.transaction import Tx
from tests.fakes.durable import FakeRuns
from tests.fakes.tasks import FakeTaskStore


@dataclass
class KeptSlot:
    slot: Slot
    digest: str
    noted_at: datetime
    run_id: RunId | None = None


@dataclass
class FakeSlotStore:
    """Transactions are serial: nobody else has anything in hand."""

    tasks: FakeTaskStore
    runs: FakeRuns
    clock: datetime | None = None
    slots: dict[tuple[TaskId, datetime], KeptSlot] = field(default_factory=dict)

    async def now(self, tx: Tx) -> datetime:
        return self._now()

    async def wait_s(self, tx: Tx) -> float | None:
        waits = [(slot - self._now()).total_seconds() for _, slot in self._planned()]
        return min(waits, default=None)

    async def due(self, tx: Tx, *, at_most: int) -> Sequence[TaskId]:
        return [task.id for task, slot in self._planned() if slot <= self._now()][:at_most]

    async def hold(self, tx: Tx, ids: Sequence[TaskId]) -> Sequence[Due]:
        now = self._now()
        return [Due(task, slot, now) for task, slot in self._planned() if task.id in ids and slot <= now]

    async def beside(
        self, tx: Tx, lanes: Mapping[TaskId, str], since: Mapping[TaskId, datetime]
    ) -> Mapping[TaskId, Beside]:
        return {one: Beside(self._unfinished(lane), self._fired(one, since.get(one))) for one, lane in lanes.items()}

    async def plan(self, tx: Tx, task_id: TaskId, timing: Timing) -> None:
        task = self.tasks.tasks[task_id]
        self.tasks.tasks[task_id] = replace(task, schedule=timing.schedule, next_run_at=timing.next_run_at)

    async def claim(self, tx: Tx, slots: Sequence[Noted]) -> frozenset[tuple[TaskId, datetime]]:
        new = {(one.task_id, one.slot.at): one for one in slots if (one.task_id, one.slot.at) not in self.slots}
        self.slots |= {key: KeptSlot(one.slot, one.digest, self._now()) for key, one in new.items()}
        return frozenset(new)

    async def note_runs(self, tx: Tx, slots: Sequence[Noted], runs: Sequence[RunId]) -> None:
        for one, run_id in zip(slots, runs, strict=True):
            self.slots[one.task_id, one.slot.at].run_id = run_id

    async def move(self, tx: Tx, moves: Sequence[Moved]) -> None:
        for one in moves:
            moved = replace(
                self.tasks.tasks[one.task_id], next_run_at=one.next_run_at, enabled=one.next_run_at is not None
            )
            self.tasks.tasks[one.task_id] = moved

    async def forget(self, tx: Tx, *, older_than: timedelta, at_most: int) -> int:
        old = [key for key, kept in self.slots.items() if kept.noted_at < self._now() - older_than][:at_most]
        for key in old:
            del self.slots[key]
        return len(old)

    def _now(self) -> datetime:
        return self.clock or datetime.now(UTC)

    def _planned(self) -> list[tuple[Task, datetime]]:
        found = [
            (task, task.next_run_at)
            for task in self.tasks.tasks.values()
            if task.enabled and task.deleted_at is None and task.next_run_at is not None
        ]
        return sorted(found, key=lambda one: one[1])

    def _unfinished(self, lane: str) -> list[Unfinished]:
        runs = sorted(self.runs.runs.items())
        return [
            Unfinished(run_id, run.cancel_reason is not None)
            for run_id, run in runs
            if run.new.lane == lane and not run.state.is_final
        ]

    def _fired(self, task_id: TaskId, since: datetime | None) -> list[Fired]:
        if since is None:
            return []
        found = [
            Fired(at, kept.digest, self.runs.runs[kept.run_id].state)
            for (one, at), kept in sorted(self.slots.items(), reverse=True)
            if one == task_id and kept.run_id is not None and at >= since
        ]
        return found[:HISTORY]


@dataclass
class FakeAlarm:
    rung: int = 0
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def ring(self) -> None:
        self.rung += 1
        self._news.set()

    def heed(self) -> None:
        self._news.clear()

    async def wait(self, timeout_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
