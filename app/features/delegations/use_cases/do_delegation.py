"""Do what another agent handed on: what a worker does with a run that a turn has begun."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.agents.contract import Turn, TurnUnreadable
from app.features.delegations.use_cases.end_delegation import EndDelegation
from app.features.runs.domain.agent_work import OrderUnreadable, answer_of, error_of
from app.features.runs.domain.delegation import DelegationOrder
from app.features.runs.use_cases.ask_agent import AskAgent
from app.infra.durable.ports import Ended, Job, RunContext, RunFailed
from app.infra.events.ports import NewEvent
from app.kernel.transaction import Tx
from app.kernel.values import Json


@dataclass(frozen=True, slots=True)
class DoDelegation:
    """The handler of runs of the kind "delegation".

    Nobody follows it who could be asked; it has no history but what its prompt tells. Its answer is the run's result.
    """

    ask: AskAgent
    end: EndDelegation

    async def run(self, context: RunContext) -> Json:
        job = context.job
        order = _order_of(job)
        turn = Turn(
            chat_id=None,
            text=order.prompt,
            caller=self.ask.caller_of(job, order.authority),
            request_id=order.request_id,
            is_attended=False,
            thread=order.thread,
            depth=order.depth,
            skill=order.skill,
        )
        return answer_of(await self.ask(context, turn, until=order.until))

    async def settle(self, tx: Tx, ended: Ended) -> Sequence[NewEvent]:
        return await self.end.settle(tx, ended)


def _order_of(job: Job) -> DelegationOrder:
    """Errors: RunFailed."""
    try:
        return DelegationOrder.of(job)
    except OrderUnreadable as error:
        raise RunFailed(error_of(TurnUnreadable("The run's input cannot be read."))) from error
