"""Answer a turn: what a worker does with a run that an exchange has begun."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.agents.contract import PastMessage, Turn, TurnUnreadable
from app.features.attachments.ports import AttachmentStore
from app.features.chats.domain.attached import to_show
from app.features.chats.domain.history import HISTORY_LIMIT_BYTES, HISTORY_LIMIT_MESSAGES, trim_history
from app.features.chats.domain.message import Message, MessageNotFound, Said
from app.features.chats.domain.turn import Order
from app.features.chats.ports import MessageStore
from app.features.chats.use_cases.end_turn import EndTurn
from app.features.runs.domain.agent_work import OrderUnreadable, error_of
from app.features.runs.use_cases.ask_agent import AskAgent
from app.infra.durable.ports import Ended, Job, RunContext, RunFailed
from app.infra.events.ports import NewEvent
from app.kernel.transaction import Look, Tx
from app.kernel.values import Json


@dataclass(frozen=True, slots=True)
class AnswerTurn:
    """The handler of runs of the kind "turn".

    Reads what was said before the question, and the files that are shown, then asks the agent. The transaction that
    ends the run stores the answer (`end_turn.py`); what the model said and was told, in its library's words and without
    the files, is the run's result.
    """

    look: Look
    messages: MessageStore
    ask: AskAgent
    end: EndTurn
    attachments: AttachmentStore

    async def run(self, context: RunContext) -> Json:
        order = _order_of(context.job)
        said = await self.ask(context, await self._read(context.job, order))
        return {"question_id": order.question, "model": said.model, "messages": said.messages}

    async def settle(self, tx: Tx, ended: Ended) -> Sequence[NewEvent]:
        return await self.end.settle(tx, ended)

    async def _read(self, job: Job, order: Order) -> Turn:
        """Read what the agent is to know. Errors: RunFailed."""
        async with self.look() as tx:
            found = await self.messages.find(tx, order.question)
            if found is None:
                raise RunFailed(error_of(MessageNotFound("The question was deleted before its turn came.")))
            before = await self._history(tx, found.message, branch=order.branch)
            wanted = to_show(found.message.attachments, [message.attachments for message in before])
            contents = await self.attachments.read(tx, wanted, owner=job.owner) if wanted else {}
        return Turn(
            chat_id=order.chat_id,
            text=found.message.content,
            caller=self.ask.caller_of(job, order.authority),
            request_id=order.request_id,
            history=tuple(
                PastMessage(
                    message.role.value, message.content, tuple(one.shown(contents) for one in message.attachments)
                )
                for message in before
            ),
            is_attended=job.trigger == "exchange",
            context=order.context,
            channel=order.channel,
            pinned=found.pinned or "",
            attachments=tuple(one.shown(contents) for one in found.message.attachments),
        )

    async def _history(self, tx: Tx, question: Message, *, branch: int) -> Sequence[Said]:
        """Read the run's own path: the chat may go on in another branch by now."""
        before = await self.messages.read_history(
            tx,
            question.chat_id,
            before=question.id,
            branch=branch,
            limit_messages=HISTORY_LIMIT_MESSAGES,
            limit_bytes=HISTORY_LIMIT_BYTES,
        )
        return trim_history(before)


def _order_of(job: Job) -> Order:
    """Errors: RunFailed."""
    try:
        return Order.of(job)
    except OrderUnreadable as error:
        raise RunFailed(error_of(TurnUnreadable("The run's input cannot be read."))) from error
