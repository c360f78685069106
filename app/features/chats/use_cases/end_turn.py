"""End a turn: store what was answered, in the transaction that ends its run."""

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from app.features.approvals.use_cases.close_approvals import CloseApprovals
from app.features.chats.domain.message import MessageStatus, NewAnswer
from app.features.chats.domain.turn import STATUS_AT_END, Order
from app.features.chats.ports import MessageStore
from app.features.chats.use_cases.give_title import GiveTitle
from app.features.runs.domain.agent_work import OrderUnreadable
from app.features.runs.ports import RunStore
from app.features.runs.use_cases.read_answer import read_answer
from app.features.usage.use_cases.close_run import CloseRun
from app.infra.durable.ports import Ended, RunContext
from app.infra.events.ports import EventType, NewEvent
from app.kernel.transaction import Tx
from app.kernel.values import Json

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class EndTurn:
    """What every process knows of turns: how one ends. The handler of those where no agent works.

    The answer is what the run's events come to, however it ended and whoever worked on it; the part of one that was
    said is kept, with the status of its turn. An answer that is whole takes the place of earlier ones in the prompt of
    its branch, and gives a chat that had no title one.
    """

    messages: MessageStore
    runs: RunStore
    close: CloseRun
    close_approvals: CloseApprovals
    give_title: GiveTitle

    async def run(self, context: RunContext) -> Json:
        raise RuntimeError(f"no agent works in this process; it took the run {context.job.id}")

    async def settle(self, tx: Tx, ended: Ended) -> Sequence[NewEvent]:
        closed = await self.close_approvals(tx, ended.job.id)
        said = await self._store(tx, ended)
        await self.close(tx, ended.job.id)
        return [*closed, *said]

    async def _store(self, tx: Tx, ended: Ended) -> Sequence[NewEvent]:
        try:
            order = Order.of(ended.job)
        except OrderUnreadable:
            log.warning("turn.unreadable", run_id=str(ended.job.id))
            return ()
        status = STATUS_AT_END[ended.state]
        question = await self.messages.settle(tx, order.question, status)
        text = await read_answer(self.runs, tx, ended.job.id)
        if question is None or not text.strip():
            return ()
        if status is MessageStatus.COMPLETE:
            await self.messages.replace_answers(tx, question.chat_id, question.id, branch=order.branch)
        said = NewAnswer(question.id, text, status, ended.job.id, order.branch)
        answer = await self.messages.add_answer(tx, said)
        if order.is_untitled and status is MessageStatus.COMPLETE:
            await self.give_title(tx, ended.job, order, question)
        return () if answer is None else (NewEvent(EventType.RUN_PROGRESS, {"message_id": answer.id}),)
