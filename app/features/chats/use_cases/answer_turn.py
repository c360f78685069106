"""Answer a turn: what a worker does with a run that an exchange has begun."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import anyio

from app.agents.contract import AgentFailed, Agents, PastMessage, Turn, TurnUnreadable
from app.agents.turns import TurnEvent
from app.features.chats.domain.history import HISTORY_LIMIT_BYTES, HISTORY_LIMIT_MESSAGES, trim_history
from app.features.chats.domain.message import Message, MessageNotFound
from app.features.chats.domain.repetition import Telling
from app.features.chats.domain.turn import AGENT_FAILURES, Order, OrderUnreadable, error_of
from app.features.chats.ports import MessageStore
from app.features.chats.use_cases.end_turn import TEXT, EndTurn
from app.features.chats.use_cases.turn_journal import Batch, TurnJournal
from app.features.runs.ports import RunStore
from app.features.usage.domain.budget import Payer
from app.features.usage.use_cases.meter_run import MeterRun
from app.infra.durable.ports import Ended, Job, RunContext, RunFailed
from app.infra.events.ports import EventType, NewEvent
from app.kernel.errors import Fault
from app.kernel.identity import RoleTable
from app.kernel.transaction import Begin, Tx
from app.kernel.values import Json

LIMIT_S = 600
GOODBYE_S = 2.0
"""for what was said when the run was stopped, and what it cost, to be written down"""
SAID = (*TEXT, EventType.THINKING_DELTA)


@dataclass(frozen=True, slots=True)
class AnswerTurn:
    """The handler of runs of the kind "turn".

    Reads what was said before the question, then asks the agent with no transaction open; what the agent says and does
    goes into the run's journal, and what it spends onto the accounts of its budgets. The transaction that ends the run
    stores the answer (`end_turn.py`); what the model said and was told, in its library's words, is the run's result.
    """

    begin: Begin
    messages: MessageStore
    runs: RunStore
    agents: Agents
    roles: RoleTable
    meter: MeterRun
    end: EndTurn
    batching: Callable[[RunContext], Batch]
    limit_s: float = LIMIT_S

    async def run(self, context: RunContext) -> Json:
        job = context.job
        order = _order_of(job)
        agent = job.agent or self.agents.default_name
        turn, telling = await self._read(job, order, agent)
        journal = TurnJournal(context, self.batching(context), telling)
        payer = Payer(job.id, job.owner, job.chat_id, agent)
        try:
            async with self.meter(payer, is_resumed=journal.is_resumed) as spending:
                said = await self.agents.answer(agent, turn, journal=journal, timeout_s=self.limit_s, spending=spending)
            await journal.settle()
            if not journal.telling.text.strip():
                raise AgentFailed("The agent gave no answer.")
        except AGENT_FAILURES as fault:
            await journal.settle()
            await _tell_when_to_retry(journal, fault)
            raise RunFailed(error_of(fault)) from fault
        except asyncio.CancelledError:
            with anyio.move_on_after(GOODBYE_S, shield=True):
                await journal.batch.flush()
            raise
        return {"question_id": order.question, "model": said.model, "messages": said.messages}

    async def settle(self, tx: Tx, ended: Ended) -> Sequence[NewEvent]:
        return await self.end.settle(tx, ended)

    async def _read(self, job: Job, order: Order, agent: str) -> tuple[Turn, Telling]:
        """Read what the agent is to know, and what was shown of its answer before. Errors: RunFailed."""
        telling = Telling()
        async with self.begin() as tx:
            found = await self.messages.find(tx, order.question)
            if found is None:
                raise RunFailed(error_of(MessageNotFound("The question was deleted before its turn came.")))
            before = await self._history(tx, found.message)
            for event in await self.runs.events(tx, job.id, SAID) if job.epoch > 1 else ():
                telling.has_shown(TurnEvent(event.type, event.data))
        turn = Turn(
            chat_id=order.chat_id,
            text=found.message.content,
            caller=order.authority.in_run(job.id, job.epoch, agent=agent, table=self.roles),
            request_id=order.request_id,
            history=before,
            is_attended=job.trigger == "exchange",
            context=order.context,
            channel=order.channel,
        )
        return turn, telling

    async def _history(self, tx: Tx, question: Message) -> tuple[PastMessage, ...]:
        before = await self.messages.read_history(
            tx,
            question.chat_id,
            before=question.id,
            limit_messages=HISTORY_LIMIT_MESSAGES,
            limit_bytes=HISTORY_LIMIT_BYTES,
        )
        return tuple(PastMessage(message.role.value, message.content) for message in trim_history(before))


def _order_of(job: Job) -> Order:
    """Errors: RunFailed."""
    try:
        return Order.of(job)
    except OrderUnreadable as error:
        raise RunFailed(error_of(TurnUnreadable("The run's input cannot be read."))) from error


async def _tell_when_to_retry(journal: TurnJournal, fault: Fault) -> None:
    """Say when trying again may help, where the fault knows."""
    after = fault.headers.get("retry-after")
    if after is not None:
        await journal.context.progress([NewEvent(EventType.RUN_PROGRESS, {"retry_after": after})])
