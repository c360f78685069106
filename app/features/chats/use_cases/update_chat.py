"""Change a chat's title, agent, metadata or what is pinned to it."""

from dataclasses import dataclass

from app.agents.contract import AgentDirectory, refuse_unknown_agent
from app.features.chats.domain.chat import Chat, ChatChange
from app.features.chats.ports import ChatStore
from app.features.chats.use_cases.access import checked_chat, open_chat
from app.kernel.audit import AuditTrail, record_on_others
from app.kernel.errors import refuse_invalid
from app.kernel.identity import Principal
from app.kernel.ids import ChatId
from app.kernel.transaction import Begin
from app.kernel.values import KEPT


@dataclass(frozen=True, slots=True)
class UpdateChat:
    """Change what the change names and leave the rest; a new agent answers from the next turn on.

    Errors: ValidationFailed, AgentUnknown, ChatNotFound.
    """

    begin: Begin
    chats: ChatStore
    agents: AgentDirectory
    audit: AuditTrail

    async def __call__(self, who: Principal, chat_id: ChatId, change: ChatChange) -> Chat:
        refuse_invalid(change.problems())
        if change.agent is not KEPT:
            refuse_unknown_agent(self.agents, change.agent)
        async with self.begin() as tx:
            chat = await open_chat(self.chats, tx, who, chat_id)
            await record_on_others(self.audit, tx, who, "chat.updated", chat_id, owner=chat.user_id)
            return checked_chat(await self.chats.update(tx, chat_id, change), who)
