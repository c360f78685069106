"""Have an agent forget what was said in a chat; and have it remember again."""

from dataclasses import dataclass
from datetime import datetime

from app.features.chats.ports import ChatStore, MessageStore
from app.features.chats.use_cases.access import open_chat
from app.kernel.audit import AuditTrail, record_on_others
from app.kernel.identity import Principal
from app.kernel.ids import ChatId
from app.kernel.transaction import Begin


@dataclass(frozen=True, slots=True)
class Cleared:
    """`at` is the moment by which the messages are known that were taken out then; None where none was."""

    messages: int
    at: datetime | None


@dataclass(frozen=True, slots=True)
class ClearChat:
    """Take every message there is out of the prompt. Nothing is deleted: a person reads the chat as before.

    Errors: ChatNotFound.
    """

    begin: Begin
    chats: ChatStore
    messages: MessageStore
    audit: AuditTrail

    async def __call__(self, who: Principal, chat_id: ChatId) -> Cleared:
        async with self.begin() as tx:
            chat = await open_chat(self.chats, tx, who, chat_id)
            await record_on_others(self.audit, tx, who, "chat.cleared", chat_id, owner=chat.user_id)
            count, at = await self.messages.take_all_out(tx, chat_id)
        return Cleared(count, at)


@dataclass(frozen=True, slots=True)
class UnclearChat:
    """Put back into the prompt what was taken out at that moment, and was not changed since. Errors: ChatNotFound."""

    begin: Begin
    chats: ChatStore
    messages: MessageStore
    audit: AuditTrail

    async def __call__(self, who: Principal, chat_id: ChatId, *, cleared_at: datetime) -> int:
        async with self.begin() as tx:
            chat = await open_chat(self.chats, tx, who, chat_id)
            await record_on_others(self.audit, tx, who, "chat.uncleared", chat_id, owner=chat.user_id)
            return await self.messages.put_back(tx, chat_id, taken_out_at=cleared_at)
