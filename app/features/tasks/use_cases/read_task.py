"""Read a task."""

from dataclasses import dataclass

from app.features.tasks.domain.task import Task
from app.features.tasks.ports import TaskStore
from app.features.tasks.use_cases.access import open_task
from app.kernel.identity import Principal
from app.kernel.ids import TaskId
from app.kernel.transaction import Begin


@dataclass(frozen=True, slots=True)
class ReadTask:
    """Errors: TaskNotFound."""

    begin: Begin
    tasks: TaskStore

    async def __call__(self, who: Principal, task_id: TaskId) -> Task:
        async with self.begin() as tx:
            return await open_task(self.tasks, tx, who, task_id)
