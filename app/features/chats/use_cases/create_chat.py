"""Open a chat."""

from dataclasses import dataclass

from app.agents.contract import Agents
from app.features.chats.domain.chat import Chat, NewChat
from app.features.chats.ports import ChatStore
from app.features.chats.use_cases.access import refuse_invalid, refuse_unknown_agent
from app.kernel.errors import Forbidden
from app.kernel.identity import Principal
from app.kernel.transaction import Begin


@dataclass(frozen=True, slots=True)
class CreateChat:
    """Open a chat for its owner: oneself, or for an admin anybody.

    Errors: Forbidden, ValidationFailed, AgentUnknown.
    """

    begin: Begin
    chats: ChatStore
    agents: Agents

    async def __call__(self, who: Principal, draft: NewChat) -> Chat:
        if draft.user_id != who.user_id and not who.is_admin:
            raise Forbidden("Only an admin may open a chat for somebody else.")
        refuse_invalid(draft.problems())
        refuse_unknown_agent(self.agents, draft.agent)
        async with self.begin() as tx:
            return await self.chats.add(tx, draft)
