"""Write a message into a chat without asking an agent."""

from dataclasses import dataclass

from app.features.chats.domain.chat import Chat, ChatNotFound
from app.features.chats.domain.message import Message, NewMessage
from app.features.chats.ports import ChatStore, MessageStore
from app.features.chats.use_cases.access import open_chat, open_message
from app.kernel.audit import AuditTrail, record_on_others
from app.kernel.errors import refuse_invalid
from app.kernel.identity import Principal
from app.kernel.ids import MessageId
from app.kernel.keyed_requests import KeyedRequest, Receipts
from app.kernel.transaction import Begin, Tx


@dataclass(frozen=True, slots=True)
class AddMessage:
    """Append a message of any role; agents see it in the turns after it. A keyed request appends one.

    Errors: ValidationFailed, ChatNotFound; MessageNotFound when an earlier try's message was deleted meanwhile.
    """

    begin: Begin
    chats: ChatStore
    messages: MessageStore
    receipts: Receipts
    audit: AuditTrail

    async def __call__(self, who: Principal, draft: NewMessage, *, keyed: KeyedRequest | None = None) -> Message:
        refuse_invalid(draft.problems())
        async with self.begin() as tx:
            chat = await open_chat(self.chats, tx, who, draft.chat_id)
            return await (
                self._add(tx, draft, chat, who) if keyed is None else self._add_once(tx, draft, chat, who, keyed)
            )

    async def _add_once(self, tx: Tx, draft: NewMessage, chat: Chat, who: Principal, keyed: KeyedRequest) -> Message:
        made = await self.receipts.find(tx, keyed)
        if made is not None:
            return (await open_message(self.messages, tx, who, MessageId(int(made)))).message
        message = await self._add(tx, draft, chat, who)
        await self.receipts.note(tx, keyed, str(message.id))
        return message

    async def _add(self, tx: Tx, draft: NewMessage, chat: Chat, who: Principal) -> Message:
        message = await self.messages.add(tx, draft)
        if message is None:
            raise ChatNotFound
        await record_on_others(self.audit, tx, who, "message.added", message.id, owner=chat.user_id)
        return message
