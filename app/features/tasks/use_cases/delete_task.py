"""Delete a task so that it can be restored."""

from dataclasses import dataclass

from app.features.runs.ports import RunStore
from app.features.tasks.ports import TaskStore
from app.features.tasks.use_cases.access import open_task
from app.infra.durable.ports import Engine, RunState
from app.kernel.audit import AuditTrail, record_on_others
from app.kernel.identity import Principal
from app.kernel.ids import TaskId
from app.kernel.transaction import Begin

REASON = "the task was deleted"


@dataclass(frozen=True, slots=True)
class DeleteTask:
    """Hide a task and stop the runs that work for it; what has run is kept. Tasks that wait for it are blocked.

    Errors: TaskNotFound.
    """

    begin: Begin
    tasks: TaskStore
    runs: RunStore
    engine: Engine
    audit: AuditTrail

    async def __call__(self, who: Principal, task_id: TaskId) -> None:
        async with self.begin() as tx:
            task = await open_task(self.tasks, tx, who, task_id)
            await self.tasks.delete(tx, task_id)
            if task.last_status is None:
                await self.tasks.tell_dependants(tx, task_id, RunState.INTERRUPTED)
            await record_on_others(self.audit, tx, who, "task.deleted", task_id, owner=task.owner)
            unfinished = await self.runs.unfinished_of_task(tx, task_id)
        for run in reversed(unfinished):  # those that wait first, or the next one would begin
            await self.engine.cancel(run.id, reason=REASON)
