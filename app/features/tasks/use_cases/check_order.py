"""Look, before a run of a task does anything, whether it may still be done."""

from dataclasses import dataclass

from app.agents.contract import TurnUnreadable
from app.features.runs.domain.agent_work import OrderUnreadable, error_of
from app.features.tasks.domain.order import TaskOrder
from app.features.tasks.domain.task import AuthorityWithdrawn, TaskNotFound
from app.features.tasks.ports import Standing, TaskStore
from app.infra.durable.ports import Job, RunFailed
from app.kernel.authority import Authority
from app.kernel.identity import Access, RoleTable
from app.kernel.transaction import Begin


@dataclass(frozen=True, slots=True)
class CheckOrder:
    """Read what a run is to do. Errors: RunFailed, where the task is gone, or its owner may not do it any more."""

    begin: Begin
    tasks: TaskStore
    standing: Standing
    roles: RoleTable

    async def __call__(self, job: Job) -> TaskOrder:
        order = _order_of(job)
        async with self.begin() as tx:
            task = await self.tasks.find(tx, order.task_id)
            is_withdrawn = await self.standing.is_withdrawn(tx, order.authority)
        if task is not None and task.withdrawn_at is not None and task.authority == order.authority:
            is_withdrawn = True
        if task is None:
            raise RunFailed(error_of(TaskNotFound("The task was deleted before its turn came.")))
        if is_withdrawn or not self._opens_doors(order.authority):
            words = "What the owner was allowed when the task was last changed was withdrawn; change or enable it anew."
            raise RunFailed(error_of(AuthorityWithdrawn(words)))
        return order

    def _opens_doors(self, authority: Authority) -> bool:
        """Whether its roles still open the door by which the task came in."""
        return Access.COMMON in self.roles.groups_of(authority.roles)


def _order_of(job: Job) -> TaskOrder:
    """Errors: RunFailed."""
    try:
        return TaskOrder.of(job)
    except OrderUnreadable as error:
        raise RunFailed(error_of(TurnUnreadable("The run's input cannot be read."))) from error
