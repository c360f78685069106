"""Delete a chat so that it can be restored."""

from dataclasses import dataclass

from app.features.chats.ports import ChatStore
from app.features.chats.use_cases.access import open_chat
from app.kernel.identity import Principal
from app.kernel.ids import ChatId
from app.kernel.transaction import Begin


@dataclass(frozen=True, slots=True)
class DeleteChat:
    """Hide a chat and its messages. A turn that is running in it is lost.

    Errors: ChatNotFound.
    """

    begin: Begin
    chats: ChatStore

    async def __call__(self, who: Principal, chat_id: ChatId) -> None:
        async with self.begin() as tx:
            await open_chat(self.chats, tx, who, chat_id)
            await self.chats.delete(tx, chat_id)
