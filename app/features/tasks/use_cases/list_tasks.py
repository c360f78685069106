"""List tasks."""

from dataclasses import dataclass, replace

from app.features.tasks.domain.task import Task, TaskFilter
from app.features.tasks.ports import TaskStore
from app.kernel.errors import Forbidden
from app.kernel.identity import Principal
from app.kernel.paging import ListFields, ListQuery, Page
from app.kernel.transaction import Begin

TASK_FIELDS = ListFields(
    searchable=frozenset({"prompt", "agent"}),
    sortable=frozenset({"id", "task_type", "created_at", "updated_at", "next_run_at", "last_run_at"}),
)


@dataclass(frozen=True, slots=True)
class ListTasks:
    """List one's own tasks; for an admin everybody's, or those of the filter's owner.

    Errors: Forbidden, when somebody else's are asked for.
    """

    begin: Begin
    tasks: TaskStore

    async def __call__(self, who: Principal, query: ListQuery, *, only: TaskFilter) -> Page[Task]:
        if not who.is_admin:
            if only.owner not in (None, who.user_id):
                raise Forbidden("Only an admin may list somebody else's tasks.")
            only = replace(only, owner=who.user_id)
        async with self.begin() as tx:
            return await self.tasks.list(tx, query, only=only)
