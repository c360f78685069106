"""Bring a deleted task back."""

from dataclasses import dataclass

from app.features.tasks.domain.task import Task
from app.features.tasks.ports import TaskStore
from app.features.tasks.use_cases.access import checked_task
from app.features.tasks.use_cases.plan_task import PlanTask
from app.kernel.audit import AuditTrail, record_on_others
from app.kernel.identity import Principal
from app.kernel.ids import TaskId
from app.kernel.transaction import Begin


@dataclass(frozen=True, slots=True)
class RestoreTask:
    """Bring a task back as it was; the runs that were stopped are not begun again, and its schedule counts anew.

    A live task stays as it is. Errors: TaskNotFound.
    """

    begin: Begin
    tasks: TaskStore
    plan: PlanTask
    audit: AuditTrail

    async def __call__(self, who: Principal, task_id: TaskId) -> Task:
        async with self.begin() as tx:
            task = checked_task(await self.tasks.find_kept(tx, task_id), who)
            if task.deleted_at is None:
                return task
            await record_on_others(self.audit, tx, who, "task.restored", task_id, owner=task.owner)
            restored = checked_task(await self.tasks.restore(tx, task_id), who)
            if await self.plan.back(tx, restored):
                restored = checked_task(await self.tasks.find(tx, task_id), who)
        self.plan.ring()
        return restored
