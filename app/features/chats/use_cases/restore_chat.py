"""Bring a deleted chat back."""

from dataclasses import dataclass

from app.features.chats.domain.chat import Chat
from app.features.chats.ports import ChatStore
from app.features.chats.use_cases.access import checked_chat
from app.kernel.audit import AuditTrail, record_on_others
from app.kernel.identity import Principal
from app.kernel.ids import ChatId
from app.kernel.transaction import Begin


@dataclass(frozen=True, slots=True)
class RestoreChat:
    """Bring a chat back with the messages it had; those deleted one by one stay deleted. A live chat stays as it is.

    Errors: ChatNotFound.
    """

    begin: Begin
    chats: ChatStore
    audit: AuditTrail

    async def __call__(self, who: Principal, chat_id: ChatId) -> Chat:
        async with self.begin() as tx:
            chat = checked_chat(await self.chats.find_kept(tx, chat_id), who)
            if chat.deleted_at is None:
                return chat
            await record_on_others(self.audit, tx, who, "chat.restored", chat_id, owner=chat.user_id)
            return checked_chat(await self.chats.restore(tx, chat_id), who)
