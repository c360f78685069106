"""List what the runs of a task came to."""

from dataclasses import dataclass, replace

from app.features.runs.domain.run import Run
from app.features.runs.ports import RunStore
from app.features.tasks.domain.task import Task
from app.features.tasks.domain.verdict import Verdict, verdict_on
from app.features.tasks.ports import TaskStore
from app.features.tasks.use_cases.access import open_task
from app.kernel.identity import Principal
from app.kernel.ids import TaskId
from app.kernel.paging import ListQuery, Page
from app.kernel.transaction import Begin


@dataclass(frozen=True, slots=True)
class Report:
    """`verdict` is None while the run is not over."""

    run: Run
    verdict: Verdict | None


@dataclass(frozen=True, slots=True)
class ListReports:
    """One for each run, read from what the run keeps; the newest first, unless the query orders otherwise.

    Errors: TaskNotFound.
    """

    begin: Begin
    tasks: TaskStore
    runs: RunStore

    async def __call__(self, who: Principal, task_id: TaskId, query: ListQuery) -> Page[Report]:
        async with self.begin() as tx:
            task = await open_task(self.tasks, tx, who, task_id)
            page = await self.runs.list_of_task(tx, task_id, query)
        return Page([Report(run, _verdict(task, run)) for run in page.items], page.total, page.limit, page.offset)


def _verdict(task: Task, run: Run) -> Verdict | None:
    if not run.status.is_final:
        return None
    verdict = verdict_on(task.task_type, run.status, run.answer or "")
    return verdict if run.error is None else replace(verdict, summary=run.error.detail)
