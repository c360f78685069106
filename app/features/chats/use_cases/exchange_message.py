"""Say something in a chat, to be answered by its agent."""

from dataclasses import dataclass

from app.features.chats.domain.chat import ChatNotFound, owns
from app.features.chats.domain.message import MessageRole, NewMessage
from app.features.chats.domain.turn import Begun, Wish
from app.features.chats.ports import ChatStore
from app.features.chats.use_cases.begin_turn import Asked, BeginTurn, Plan
from app.kernel.errors import refuse_invalid
from app.kernel.identity import Principal
from app.kernel.ids import ChatId, RunId
from app.kernel.keyed_requests import KeyedRequest
from app.kernel.transaction import Tx


@dataclass(frozen=True, slots=True)
class ExchangeMessage:
    """Begin a turn about what the owner says (`begin_turn.py`).

    Nobody but the owner may, not even an admin: the answer is made with the caller's rights.

    Errors: ValidationFailed, ChatNotFound, ChatBusy.
    """

    chats: ChatStore
    begin_turn: BeginTurn

    async def __call__(
        self, who: Principal, chat_id: ChatId, wish: Wish, *, keyed: KeyedRequest | None = None
    ) -> Begun:
        refuse_invalid([*NewMessage(chat_id, MessageRole.USER, wish.text).problems(), *wish.problems()])

        async def plan(tx: Tx) -> Plan:
            chat = await self.chats.find(tx, chat_id)
            if chat is None or not owns(who, chat):
                raise ChatNotFound

            async def say(tx: Tx, run_id: RunId) -> Asked:
                return await self.begin_turn.say(tx, chat, wish, run_id)

            return Plan(chat, say)

        return await self.begin_turn(who, wish, plan, keyed=keyed)
