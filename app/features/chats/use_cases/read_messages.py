"""Read a chat's messages in order."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.features.chats.domain.message import Message
from app.features.chats.ports import ChatStore, MessageStore
from app.features.chats.use_cases.access import open_chat
from app.kernel.identity import Principal
from app.kernel.ids import ChatId, MessageId
from app.kernel.transaction import Begin


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of a chat, oldest first; `next` is where to go on reading, None at the end."""

    items: Sequence[Message]
    next: MessageId | None


@dataclass(frozen=True, slots=True)
class ReadMessages:
    """Errors: ChatNotFound."""

    begin: Begin
    chats: ChatStore
    messages: MessageStore

    async def __call__(self, who: Principal, chat_id: ChatId, *, after: int, limit: int) -> Stretch:
        async with self.begin() as tx:
            await open_chat(self.chats, tx, who, chat_id)
            found = await self.messages.read_after(tx, chat_id, after=after, limit=limit + 1)
        items = found[:limit]
        return Stretch(items, items[-1].id if len(found) > limit else None)
