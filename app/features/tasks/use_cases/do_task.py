"""Do a task: what a worker does with one of its runs."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.agents.contract import Turn, TurnUnreadable
from app.features.runs.domain.agent_work import OrderUnreadable, answer_of, error_of
from app.features.runs.use_cases.ask_agent import AskAgent
from app.features.tasks.domain.order import TaskOrder, told
from app.features.tasks.domain.task import AuthorityWithdrawn, TaskNotFound
from app.features.tasks.ports import Standing, TaskStore
from app.features.tasks.use_cases.end_task import EndTask
from app.infra.durable.ports import Ended, Job, RunContext, RunFailed
from app.infra.events.ports import NewEvent
from app.kernel.authority import Authority
from app.kernel.identity import Access, RoleTable
from app.kernel.transaction import Begin, Tx
from app.kernel.values import Json


@dataclass(frozen=True, slots=True)
class DoTask:
    """The handler of runs of the kind "task".

    Looks whether the rights it was given still stand, then asks the agent as a turn of a chat does, but that nobody is
    there to be asked. The answer, and what the model said and was told, in its library's words, are the run's result.
    """

    begin: Begin
    tasks: TaskStore
    standing: Standing
    roles: RoleTable
    ask: AskAgent
    end: EndTask

    async def run(self, context: RunContext) -> Json:
        job = context.job
        order = _order_of(job)
        await self._check(order)
        turn = Turn(
            chat_id=None,
            text=told(order),
            caller=self.ask.caller_of(job, order.authority),
            request_id=order.request_id,
            is_attended=False,
            context=order.context,
        )
        return answer_of(await self.ask(context, turn))

    async def settle(self, tx: Tx, ended: Ended) -> Sequence[NewEvent]:
        return await self.end.settle(tx, ended)

    async def _check(self, order: TaskOrder) -> None:
        """Errors: RunFailed, where the task is gone, or its owner may not do it any more."""
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

    def _opens_doors(self, authority: Authority) -> bool:
        """Whether its roles still open the door by which the task came in."""
        return Access.COMMON in self.roles.groups_of(authority.roles)


def _order_of(job: Job) -> TaskOrder:
    """Errors: RunFailed."""
    try:
        return TaskOrder.of(job)
    except OrderUnreadable as error:
        raise RunFailed(error_of(TurnUnreadable("The run's input cannot be read."))) from error
