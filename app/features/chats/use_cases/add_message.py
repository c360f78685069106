"""Write a message into a chat without asking an agent."""

from dataclasses import dataclass

from app.features.chats.domain.chat import ChatNotFound
from app.features.chats.domain.message import Message, NewMessage
from app.features.chats.ports import ChatStore, MessageStore
from app.features.chats.use_cases.access import open_chat, refuse_invalid
from app.kernel.identity import Principal
from app.kernel.transaction import Begin


@dataclass(frozen=True, slots=True)
class AddMessage:
    """Append a message of any role; agents see it in the turns after it.

    Errors: ValidationFailed, ChatNotFound.
    """

    begin: Begin
    chats: ChatStore
    messages: MessageStore

    async def __call__(self, who: Principal, draft: NewMessage) -> Message:
        refuse_invalid(draft.problems())
        async with self.begin() as tx:
            await open_chat(self.chats, tx, who, draft.chat_id)
            message = await self.messages.add(tx, draft)
        if message is None:
            raise ChatNotFound
        return message
