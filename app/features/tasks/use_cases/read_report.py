"""Read the report of a piece of research."""

from dataclasses import dataclass

from app.features.runs.ports import RunStore
from app.features.tasks.domain.report import ReportNotFound
from app.features.tasks.domain.task import TaskType
from app.features.tasks.ports import TaskStore
from app.features.tasks.use_cases.access import open_task
from app.kernel.identity import Principal
from app.kernel.ids import TaskId
from app.kernel.transaction import Begin


@dataclass(frozen=True, slots=True)
class ReadReport:
    """Give the report of the last run that was completed. Errors: TaskNotFound, ReportNotFound."""

    begin: Begin
    tasks: TaskStore
    runs: RunStore

    async def __call__(self, who: Principal, task_id: TaskId) -> str:
        async with self.begin() as tx:
            task = await open_task(self.tasks, tx, who, task_id)
            if task.task_type is not TaskType.RESEARCH:
                raise ReportNotFound("Only research makes reports.")
            run = await self.runs.last_completed_of_task(tx, task_id)
        if run is None or run.answer is None:
            raise ReportNotFound("The research was not completed yet.")
        return run.answer
