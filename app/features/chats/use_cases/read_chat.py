"""Read a chat."""

from dataclasses import dataclass

from app.features.chats.domain.chat import Chat
from app.features.chats.ports import ChatStore
from app.features.chats.use_cases.access import open_chat
from app.kernel.identity import Principal
from app.kernel.ids import ChatId
from app.kernel.transaction import Begin


@dataclass(frozen=True, slots=True)
class ReadChat:
    """Errors: ChatNotFound."""

    begin: Begin
    chats: ChatStore

    async def __call__(self, who: Principal, chat_id: ChatId) -> Chat:
        async with self.begin() as tx:
            return await open_chat(self.chats, tx, who, chat_id)
