"""Do a task: what a worker does with one of its runs."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.agents.contract import Turn
from app.features.runs.domain.agent_work import answer_of
from app.features.runs.use_cases.ask_agent import AskAgent
from app.features.tasks.domain.order import told
from app.features.tasks.use_cases.check_order import CheckOrder
from app.features.tasks.use_cases.end_task import EndTask
from app.infra.durable.ports import Ended, RunContext
from app.infra.events.ports import NewEvent
from app.kernel.transaction import Tx
from app.kernel.values import Json


@dataclass(frozen=True, slots=True)
class DoTask:
    """The handler of runs of the kind "task".

    Looks whether the rights it was given still stand, then asks the agent as a turn of a chat does, but that nobody is
    there to be asked. The answer, and what the model said and was told, in its library's words, are the run's result.
    """

    check: CheckOrder
    ask: AskAgent
    end: EndTask

    async def run(self, context: RunContext) -> Json:
        job = context.job
        order = await self.check(job)
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
