"""Read one message."""

from dataclasses import dataclass

from app.features.chats.domain.message import Message
from app.features.chats.ports import MessageStore
from app.features.chats.use_cases.access import open_message
from app.kernel.identity import Principal
from app.kernel.ids import MessageId
from app.kernel.transaction import Begin


@dataclass(frozen=True, slots=True)
class ReadMessage:
    """Errors: MessageNotFound."""

    begin: Begin
    messages: MessageStore

    async def __call__(self, who: Principal, message_id: MessageId) -> Message:
        async with self.begin() as tx:
            return (await open_message(self.messages, tx, who, message_id)).message
