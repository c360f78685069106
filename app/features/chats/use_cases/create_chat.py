"""Open a chat."""

from dataclasses import dataclass

from app.agents.contract import AgentDirectory, refuse_unknown_agent
from app.features.chats.domain.chat import Chat, NewChat
from app.features.chats.ports import ChatStore
from app.features.chats.use_cases.access import checked_chat
from app.kernel.audit import AuditTrail, record_on_others
from app.kernel.errors import Forbidden, refuse_invalid
from app.kernel.identity import Principal
from app.kernel.ids import ChatId
from app.kernel.keyed_requests import KeyedRequest, Receipts
from app.kernel.transaction import Begin, Tx


@dataclass(frozen=True, slots=True)
class CreateChat:
    """Open a chat for its owner: oneself, or for an admin anybody. However often a keyed request comes, it is one chat.

    Errors: Forbidden, ValidationFailed, AgentUnknown; ChatNotFound when an earlier try's chat was deleted meanwhile.
    """

    begin: Begin
    chats: ChatStore
    agents: AgentDirectory
    receipts: Receipts
    audit: AuditTrail

    async def __call__(self, who: Principal, draft: NewChat, *, keyed: KeyedRequest | None = None) -> Chat:
        if draft.user_id != who.user_id and not who.is_admin:
            raise Forbidden("Only an admin may open a chat for somebody else.")
        refuse_invalid(draft.problems())
        refuse_unknown_agent(self.agents, draft.agent)
        async with self.begin() as tx:
            return await (self._add(tx, draft, who) if keyed is None else self._add_once(tx, draft, who, keyed))

    async def _add_once(self, tx: Tx, draft: NewChat, who: Principal, keyed: KeyedRequest) -> Chat:
        made = await self.receipts.find(tx, keyed)
        if made is not None:
            return checked_chat(await self.chats.find(tx, ChatId(int(made))), who)
        chat = await self._add(tx, draft, who)
        await self.receipts.note(tx, keyed, str(chat.id))
        return chat

    async def _add(self, tx: Tx, draft: NewChat, who: Principal) -> Chat:
        chat = await self.chats.add(tx, draft)
        await record_on_others(self.audit, tx, who, "chat.created", chat.id, owner=chat.user_id)
        return chat
