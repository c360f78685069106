"""Answer a visitor: what a worker does with the run of a message, and how that ends."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from app.agents.contract import Turn, TurnUnreadable
from app.features.approvals.use_cases.close_approvals import CloseApprovals
from app.features.runs.domain.agent_work import OrderUnreadable, answer_of, error_of
from app.features.runs.use_cases.ask_agent import AskAgent
from app.features.usage.use_cases.close_run import CloseRun
from app.features.widgets.domain import Order, WidgetSessionNotFound, continued
from app.features.widgets.ports import WidgetSessions
from app.infra.durable.ports import Ended, RunContext, RunFailed, RunState
from app.infra.events.ports import NewEvent
from app.kernel.transaction import Begin, Tx
from app.kernel.values import Json

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class EndVisit:
    """What every process knows of widgets: how a message's run ends. The handler of those where no agent works.

    What was said is kept for the next message where it was answered; else the visitor may say it again.
    """

    sessions: WidgetSessions
    close: CloseRun
    close_approvals: CloseApprovals

    async def run(self, context: RunContext) -> Json:
        raise RuntimeError(f"no agent works in this process; it took the run {context.job.id}")

    async def settle(self, tx: Tx, ended: Ended) -> Sequence[NewEvent]:
        closed = await self.close_approvals(tx, ended.job.id)
        try:
            await self._note(tx, Order.of(ended.job), ended)
        except OrderUnreadable:
            log.warning("visit.unreadable", run_id=str(ended.job.id))
        await self.close(tx, ended.job.id)
        return closed

    async def _note(self, tx: Tx, order: Order, ended: Ended) -> None:
        said = None
        answer = ended.result.get("text") if isinstance(ended.result, Mapping) else None
        if ended.state is RunState.COMPLETED and isinstance(answer, str):
            before = await self.sessions.history(tx, order.key)
            said = None if before is None else continued(before, order.text, answer)
        await self.sessions.settle(tx, order.key, ended.job.id, said)


@dataclass(frozen=True, slots=True)
class AnswerVisitor:
    """The handler of runs of the kind "widget"."""

    begin: Begin
    sessions: WidgetSessions
    ask: AskAgent
    end: EndVisit

    async def run(self, context: RunContext) -> Json:
        try:
            order = Order.of(context.job)
        except OrderUnreadable as error:
            raise RunFailed(error_of(TurnUnreadable("The run's input cannot be read."))) from error
        async with self.begin() as tx:
            before = await self.sessions.history(tx, order.key)
        if before is None:
            raise RunFailed(error_of(WidgetSessionNotFound("It expired before its turn came.")))
        turn = Turn(
            chat_id=None,
            text=order.text,
            caller=self.ask.caller_of(context.job, order.authority),
            request_id=order.request_id,
            history=tuple(before),
            is_attended=False,
            may_write=False,
        )
        return answer_of(await self.ask(context, turn))

    async def settle(self, tx: Tx, ended: Ended) -> Sequence[NewEvent]:
        return await self.end.settle(tx, ended)
