"""List what a task has run, and runs."""

from dataclasses import dataclass

from app.features.runs.domain.run import Run
from app.features.runs.ports import RunStore
from app.features.tasks.ports import TaskStore
from app.features.tasks.use_cases.access import open_task
from app.kernel.identity import Principal
from app.kernel.ids import TaskId
from app.kernel.paging import ListFields, ListQuery, Page
from app.kernel.transaction import Begin

RUN_FIELDS = ListFields(searchable=frozenset(), sortable=frozenset({"id", "created_at"}))


@dataclass(frozen=True, slots=True)
class ListTaskRuns:
    """The newest first, unless the query orders otherwise. Errors: TaskNotFound."""

    begin: Begin
    tasks: TaskStore
    runs: RunStore

    async def __call__(self, who: Principal, task_id: TaskId, query: ListQuery) -> Page[Run]:
        async with self.begin() as tx:
            await open_task(self.tasks, tx, who, task_id)
            return await self.runs.list_of_task(tx, task_id, query)
