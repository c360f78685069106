"""Delete one message."""

from dataclasses import dataclass

from app.features.chats.ports import MessageStore
from app.features.chats.use_cases.access import open_message
from app.kernel.audit import AuditTrail, record_on_others
from app.kernel.identity import Principal
from app.kernel.ids import MessageId
from app.kernel.transaction import Begin


@dataclass(frozen=True, slots=True)
class DeleteMessage:
    """Hide a message from its chat and from every later prompt; restoring the chat does not bring it back.

    Errors: MessageNotFound.
    """

    begin: Begin
    messages: MessageStore
    audit: AuditTrail

    async def __call__(self, who: Principal, message_id: MessageId) -> None:
        async with self.begin() as tx:
            owned = await open_message(self.messages, tx, who, message_id)
            await record_on_others(self.audit, tx, who, "message.deleted", message_id, owner=owned.owner)
            await self.messages.delete(tx, message_id)
