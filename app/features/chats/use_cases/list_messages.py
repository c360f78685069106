"""List messages of every chat."""

from dataclasses import dataclass

from app.features.chats.domain.message import Message
from app.features.chats.ports import MessageStore
from app.kernel.errors import Forbidden
from app.kernel.identity import Principal
from app.kernel.ids import ChatId
from app.kernel.paging import ListFields, ListQuery, Page
from app.kernel.transaction import Begin

MESSAGE_FIELDS = ListFields(
    searchable=frozenset({"content", "role", "status"}),
    sortable=frozenset({"id", "chat_id", "created_at", "updated_at"}),
)


@dataclass(frozen=True, slots=True)
class ListMessages:
    """List everybody's messages, or those of one chat. For staff.

    Errors: Forbidden.
    """

    begin: Begin
    messages: MessageStore

    async def __call__(self, who: Principal, query: ListQuery, *, chat_id: ChatId | None = None) -> Page[Message]:
        if not who.is_staff:
            raise Forbidden("Only staff may list everybody's messages.")
        async with self.begin() as tx:
            return await self.messages.list(tx, query, chat_id=chat_id)
