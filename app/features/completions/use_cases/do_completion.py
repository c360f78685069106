"""Answer a completion: what a worker does with its run, and how that ends."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.agents.contract import Turn, TurnUnreadable
from app.features.approvals.use_cases.close_approvals import CloseApprovals
from app.features.completions.domain import Order
from app.features.runs.domain.agent_work import OrderUnreadable, answer_of, error_of
from app.features.runs.use_cases.ask_agent import AskAgent
from app.features.usage.use_cases.close_run import CloseRun
from app.infra.durable.ports import Ended, RunContext, RunFailed
from app.infra.events.ports import NewEvent
from app.kernel.transaction import Tx
from app.kernel.values import Json


@dataclass(frozen=True, slots=True)
class EndCompletion:
    """What every process knows of completions: how one ends. The handler of those where no agent works."""

    close: CloseRun
    close_approvals: CloseApprovals

    async def run(self, context: RunContext) -> Json:
        raise RuntimeError(f"no agent works in this process; it took the run {context.job.id}")

    async def settle(self, tx: Tx, ended: Ended) -> Sequence[NewEvent]:
        closed = await self.close_approvals(tx, ended.job.id)
        await self.close(tx, ended.job.id)
        return closed


@dataclass(frozen=True, slots=True)
class DoCompletion:
    """The handler of runs of the kind "completion"; the answer is the run's result."""

    ask: AskAgent
    end: EndCompletion

    async def run(self, context: RunContext) -> Json:
        try:
            order = Order.of(context.job)
        except OrderUnreadable as error:
            raise RunFailed(error_of(TurnUnreadable("The run's input cannot be read."))) from error
        turn = Turn(
            chat_id=None,
            text=order.text,
            caller=self.ask.caller_of(context.job, order.authority),
            request_id=order.request_id,
            history=order.history,
            is_attended=False,
        )
        return answer_of(await self.ask(context, turn))

    async def settle(self, tx: Tx, ended: Ended) -> Sequence[NewEvent]:
        return await self.end.settle(tx, ended)
