"""Have a model make a chat's title: what a worker does with the run that the end of a turn has begun, and its end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from app.agents.contract import Turn, TurnUnreadable
from app.features.chats.domain.message import Message
from app.features.chats.domain.title import TitleOrder, ask_for_title, first_words, title_of
from app.features.chats.ports import ChatStore, MessageStore
from app.features.runs.domain.agent_work import OrderUnreadable, answer_of, error_of
from app.features.runs.use_cases.ask_agent import AskAgent
from app.features.usage.use_cases.close_run import CloseRun
from app.infra.durable.ports import Ended, RunContext, RunFailed, RunState
from app.infra.events.ports import NewEvent
from app.kernel.transaction import Begin, Tx
from app.kernel.values import Json

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class EndTitle:
    """What every process knows of titles: how the making of one ends. The handler of those where no agent works.

    A chat that still has none gets what the model said or, where that came to nothing, the question's first words.
    """

    chats: ChatStore
    messages: MessageStore
    close: CloseRun

    async def run(self, context: RunContext) -> Json:
        raise RuntimeError(f"no agent works in this process; it took the run {context.job.id}")

    async def settle(self, tx: Tx, ended: Ended) -> Sequence[NewEvent]:
        await self._store(tx, ended)
        await self.close(tx, ended.job.id)
        return ()

    async def _store(self, tx: Tx, ended: Ended) -> None:
        try:
            order = TitleOrder.of(ended.job)
        except OrderUnreadable:
            log.warning("title.unreadable", run_id=str(ended.job.id))
            return
        title = _said(ended) if ended.state is RunState.COMPLETED else None
        if title is None:
            asked = await self.messages.find(tx, order.question)
            title = None if asked is None else first_words(asked.message.content)
        if title is not None:
            await self.chats.entitle(tx, order.chat_id, title)


@dataclass(frozen=True, slots=True)
class MakeTitle:
    """The handler of runs of the kind "title"; asks nobody where the chat is gone or was given a title meanwhile."""

    begin: Begin
    chats: ChatStore
    messages: MessageStore
    ask: AskAgent
    end: EndTitle

    async def run(self, context: RunContext) -> Json:
        try:
            order = TitleOrder.of(context.job)
        except OrderUnreadable as error:
            raise RunFailed(error_of(TurnUnreadable("The run's input cannot be read."))) from error
        prompt = await self._read(order)
        if prompt is None:
            return {"text": ""}
        turn = Turn(
            chat_id=None,
            text=prompt,
            caller=self.ask.caller_of(context.job, order.authority),
            request_id=order.request_id,
            is_attended=False,
            may_write=False,
        )
        return answer_of(await self.ask(context, turn))

    async def settle(self, tx: Tx, ended: Ended) -> Sequence[NewEvent]:
        return await self.end.settle(tx, ended)

    async def _read(self, order: TitleOrder) -> str | None:
        async with self.begin() as tx:
            chat = await self.chats.find(tx, order.chat_id)
            if chat is None or chat.title is not None:
                return None
            said = await self.messages.read_turn(tx, order.chat_id, order.question, order.turn, branch=order.branch)
        match said:
            case [Message() as question, Message() as answer]:
                return ask_for_title(question.content, answer.content)
            case _:
                return None


def _said(ended: Ended) -> str | None:
    match ended.result:
        case Mapping() as result:
            return title_of(str(result.get("text", "")))
        case _:
            return None
