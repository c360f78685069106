"""List chats."""

from dataclasses import dataclass

from app.features.chats.domain.chat import Chat
from app.features.chats.ports import ChatStore
from app.kernel.errors import Forbidden
from app.kernel.identity import Principal
from app.kernel.ids import UserId
from app.kernel.paging import ListFields, ListQuery, Page
from app.kernel.transaction import Begin

CHAT_FIELDS = ListFields(
    searchable=frozenset({"title", "agent"}),
    sortable=frozenset({"id", "title", "created_at", "updated_at"}),
)


@dataclass(frozen=True, slots=True)
class ListChats:
    """List one's own chats; for an admin everybody's, or those of `owner`.

    Errors: Forbidden, when somebody else's are asked for.
    """

    begin: Begin
    chats: ChatStore

    async def __call__(self, who: Principal, query: ListQuery, *, owner: UserId | None = None) -> Page[Chat]:
        if not who.is_admin:
            if owner not in (None, who.user_id):
                raise Forbidden("Only an admin may list somebody else's chats.")
            owner = who.user_id
        async with self.begin() as tx:
            return await self.chats.list(tx, query, owner=owner)
