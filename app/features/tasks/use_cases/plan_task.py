"""Say when a task is due, when it is made, changed, enabled or brought back."""

from dataclasses import dataclass

from app.features.tasks.domain.schedule import ScheduleUnreadable
from app.features.tasks.domain.task import NewTask, Task, TaskChange
from app.features.tasks.domain.timing import NEVER, changes_timing, timing_of, timing_problems
from app.features.tasks.ports import Alarm, SlotStore
from app.kernel.errors import refuse_invalid
from app.kernel.ids import TaskId
from app.kernel.transaction import Tx


@dataclass(frozen=True, slots=True)
class PlanTask:
    """By the database's clock, in the transaction that writes the task. Whoever calls rings when that is committed.

    Gives whether there was anything to write. Errors: ValidationFailed.
    """

    slots: SlotStore
    alarm: Alarm

    async def first(self, tx: Tx, task_id: TaskId, draft: NewTask) -> bool:
        """Plan a new task."""
        return draft.task_type.is_planned and await self._plan(tx, task_id, draft, enabled=True)

    async def again(self, tx: Tx, before: Task, change: TaskChange, after: Task) -> bool:
        """Plan a task anew whose schedule is changed, or that is enabled or disabled."""
        if not changes_timing(before, change):
            return False
        return await self._plan(tx, before.id, change.applied_to(before), enabled=after.enabled)

    async def back(self, tx: Tx, task: Task) -> bool:
        """Plan a task that was deleted; one that would never be due again stays without a plan."""
        if not task.task_type.is_planned:
            return False
        now = await self.slots.now(tx)
        try:
            timing = timing_of(TaskChange().applied_to(task), enabled=task.enabled, now=now)
        except ScheduleUnreadable:
            timing = NEVER
        await self.slots.plan(tx, task.id, timing)
        return True

    def ring(self) -> None:
        """Wake those who wait for the next slot."""
        self.alarm.ring()

    async def _plan(self, tx: Tx, task_id: TaskId, draft: NewTask, *, enabled: bool) -> bool:
        now = await self.slots.now(tx)
        refuse_invalid(timing_problems(draft, enabled=enabled, now=now))
        await self.slots.plan(tx, task_id, timing_of(draft, enabled=enabled, now=now))
        return True
