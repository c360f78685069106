"""Have a chat go on in the branch of one of its messages."""

from dataclasses import dataclass

from app.features.chats.domain.chat import Chat
from app.features.chats.ports import BranchStore, MessageStore
from app.features.chats.use_cases.access import checked_chat, open_message
from app.kernel.audit import AuditTrail, record_on_others
from app.kernel.identity import Principal
from app.kernel.ids import MessageId
from app.kernel.transaction import Begin


@dataclass(frozen=True, slots=True)
class SelectBranch:
    """Choose what the next message is said behind. A turn that runs or waits stays in its branch.

    Errors: MessageNotFound; ChatNotFound when the chat went away between looking and choosing.
    """

    begin: Begin
    messages: MessageStore
    branches: BranchStore
    audit: AuditTrail

    async def __call__(self, who: Principal, message_id: MessageId) -> Chat:
        async with self.begin() as tx:
            owned = await open_message(self.messages, tx, who, message_id)
            chat_id, branch = owned.message.chat_id, owned.message.branch
            await record_on_others(self.audit, tx, who, "chat.branch_selected", chat_id, owner=owned.owner)
            return checked_chat(await self.branches.select(tx, chat_id, branch), who)
