"""Change what a message says, or whether models see it."""

from dataclasses import dataclass

from app.features.chats.domain.message import Message, MessageChange
from app.features.chats.ports import MessageStore
from app.features.chats.use_cases.access import open_message, present_message
from app.kernel.audit import AuditTrail, record_on_others
from app.kernel.errors import refuse_invalid
from app.kernel.identity import Principal
from app.kernel.ids import MessageId
from app.kernel.transaction import Begin


@dataclass(frozen=True, slots=True)
class UpdateMessage:
    """Errors: ValidationFailed, MessageNotFound."""

    begin: Begin
    messages: MessageStore
    audit: AuditTrail

    async def __call__(self, who: Principal, message_id: MessageId, change: MessageChange) -> Message:
        refuse_invalid(change.problems())
        async with self.begin() as tx:
            owned = await open_message(self.messages, tx, who, message_id)
            await record_on_others(self.audit, tx, who, "message.updated", message_id, owner=owned.owner)
            return present_message(await self.messages.update(tx, message_id, change))
