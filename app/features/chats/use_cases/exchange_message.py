"""Say something in a chat and get an agent's answer."""

from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID, uuid4

import anyio

from app.agents.contract import AgentFailed, Agents, PastMessage, Turn
from app.agents.turns import Unwritten
from app.features.chats.domain.chat import Chat, ChatBusy, ChatNotFound, owns
from app.features.chats.domain.history import HISTORY_LIMIT_BYTES, HISTORY_LIMIT_MESSAGES, trim_history
from app.features.chats.domain.message import (
    ANSWER_LIMIT_CHARS,
    Message,
    MessageRole,
    MessageStatus,
    NewMessage,
    TurnLost,
)
from app.features.chats.domain.storable import storable_text
from app.features.chats.ports import ChatStore, MessageHook, MessageStore, Snapshot
from app.features.chats.use_cases.access import refuse_invalid
from app.features.chats.use_cases.turn_lease import TurnLease
from app.kernel.errors import Unavailable
from app.kernel.identity import Principal
from app.kernel.ids import ChatId
from app.kernel.transaction import Begin, Tx

CLEAN_UP_TIMEOUT_S = 5


@dataclass(frozen=True, slots=True)
class Exchange:
    question: Message
    answer: Message


@dataclass(slots=True)
class _OpenTurn:
    """What this turn has taken so far; `question` is None until there is something to give back."""

    id: UUID
    question: Message | None = None


@dataclass(frozen=True, slots=True)
class ExchangeMessage:
    """Store what the owner says, ask the chat's agent, store its answer. Nobody but the owner may, not even an admin.

    1. One transaction takes the chat's turn, stores the question as pending and reads what came before it.
    2. Without a transaction, the message hook is told and the agent is asked, while the lease is renewed.
    3. One transaction gives the turn back, completes the question and stores the answer; or, when the turn is no
       longer ours, nothing of it.

    However else steps 2 and 3 end, the question stays, marked: failed for whatever the agent or the storage raised,
    interrupted for a cancelled request or a lost turn. The chat is free at once, and later prompts leave the question
    out. When even that cannot be written, because the process or the database died, the lease runs out by itself and
    the next turn marks the question interrupted.

    Errors: ValidationFailed, ChatNotFound, ChatBusy (at once), TurnLost; of the agent AgentNotFound, AgentFailed,
            AgentTimedOut, ModelNotConfigured, ModelUnavailable.
    """

    begin: Begin
    chats: ChatStore
    messages: MessageStore
    lease: TurnLease
    agents: Agents
    hook: MessageHook
    timeout_s: float = 60

    async def __call__(self, who: Principal, chat_id: ChatId, text: str, *, request_id: str = "") -> Exchange:
        draft = NewMessage(chat_id, MessageRole.USER, text, MessageStatus.PENDING)
        refuse_invalid(draft.problems())
        turn = _OpenTurn(uuid4())
        try:
            agent, history = await self._open(turn, draft, who)
            self.hook.capture(Snapshot(who.user_id, chat_id, text, request_id))
            asked = Turn(chat_id=chat_id, text=text, caller=who, request_id=request_id, history=history)
            answer = self.agents.answer(agent, asked, journal=Unwritten(), timeout_s=self.timeout_s)
            said = await self.lease.keep_during(chat_id, turn.id, answer)
            return await self._close(turn, _checked(said.text))
        except BaseException as ending:
            await self._give_up(turn, ending)
            raise

    async def _open(self, turn: _OpenTurn, draft: NewMessage, who: Principal) -> tuple[str, tuple[PastMessage, ...]]:
        async with self.begin() as tx:
            chat = await self._own_chat(tx, draft.chat_id, who)
            if not await self.lease.take(tx, chat.id, turn.id):
                raise ChatBusy("One turn at a time; try again when it has been answered.")
            question = await self.messages.add(tx, draft)
            if question is None:
                raise ChatNotFound
            history = await self._history(tx, question)
            turn.question = question
        return chat.agent or self.agents.default_name, history

    async def _own_chat(self, tx: Tx, chat_id: ChatId, who: Principal) -> Chat:
        chat = await self.chats.find(tx, chat_id)
        if chat is None or not owns(who, chat):
            raise ChatNotFound
        return chat

    async def _history(self, tx: Tx, question: Message) -> tuple[PastMessage, ...]:
        before = await self.messages.read_history(
            tx,
            question.chat_id,
            before=question.id,
            limit_messages=HISTORY_LIMIT_MESSAGES,
            limit_bytes=HISTORY_LIMIT_BYTES,
        )
        return tuple(PastMessage(message.role.value, message.content) for message in trim_history(before))

    async def _close(self, turn: _OpenTurn, answer: str) -> Exchange:
        question = turn.question
        if question is None:
            raise TurnLost
        async with self.begin() as tx:
            if not await self.lease.end(tx, question.chat_id, turn.id):
                raise TurnLost
            settled = await self.messages.settle(tx, question.id, MessageStatus.COMPLETE)
            answered = await self.messages.add(tx, NewMessage(question.chat_id, MessageRole.ASSISTANT, answer))
            if settled is None or answered is None:
                raise TurnLost  # the chat was deleted meanwhile
            return Exchange(settled, answered)

    async def _give_up(self, turn: _OpenTurn, ending: BaseException) -> None:
        if turn.question is None:
            return
        has_failed = isinstance(ending, Exception) and not isinstance(ending, TurnLost)
        status = MessageStatus.FAILED if has_failed else MessageStatus.INTERRUPTED
        with anyio.move_on_after(CLEAN_UP_TIMEOUT_S, shield=True), suppress(Unavailable):
            async with self.begin() as tx:
                if await self.lease.end(tx, turn.question.chat_id, turn.id):
                    await self.messages.settle(tx, turn.question.id, status)


def _checked(answer: str) -> str:
    if not answer:
        raise AgentFailed("The agent gave an empty answer.")
    if len(answer) > ANSWER_LIMIT_CHARS:
        raise AgentFailed("The agent's answer is too long to keep.", evidence={"characters": len(answer)})
    return storable_text(answer)
