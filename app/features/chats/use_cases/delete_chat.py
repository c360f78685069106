"""Delete a chat so that it can be restored."""

from dataclasses import dataclass

from app.features.chats.ports import ChatStore
from app.features.chats.use_cases.access import open_chat
from app.features.runs.ports import RunStore
from app.infra.durable.ports import Engine
from app.kernel.audit import AuditTrail, record_on_others
from app.kernel.identity import Principal
from app.kernel.ids import ChatId
from app.kernel.transaction import Begin

REASON = "the chat was deleted"


@dataclass(frozen=True, slots=True)
class DeleteChat:
    """Hide a chat and its messages, and stop the runs that work for it.

    Errors: ChatNotFound.
    """

    begin: Begin
    chats: ChatStore
    runs: RunStore
    engine: Engine
    audit: AuditTrail

    async def __call__(self, who: Principal, chat_id: ChatId) -> None:
        async with self.begin() as tx:
            chat = await open_chat(self.chats, tx, who, chat_id)
            await self.chats.delete(tx, chat_id)
            await record_on_others(self.audit, tx, who, "chat.deleted", chat_id, owner=chat.user_id)
            unfinished = await self.runs.unfinished(tx, chat_id)
        for run in reversed(unfinished):  # those that wait first, or the next one would begin
            await self.engine.cancel(run.id, reason=REASON)
