"""List attachments."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from app.features.attachments.domain.attachment import Attachment
from app.features.attachments.ports import AttachmentStore
from app.kernel.errors import Forbidden
from app.kernel.identity import Principal
from app.kernel.ids import UserId
from app.kernel.paging import ListFields, ListQuery, Page
from app.kernel.transaction import Begin

ATTACHMENT_FIELDS = ListFields(
    searchable=frozenset({"name", "media_type"}),
    sortable=frozenset({"id", "name", "media_type", "size_bytes", "created_at"}),
)


@dataclass(frozen=True, slots=True)
class ListAttachments:
    """List one's own; for an admin everybody's, or one user's. Errors: Forbidden, for somebody else's."""

    begin: Begin
    store: AttachmentStore

    async def __call__(
        self, who: Principal, query: ListQuery, *, owner: UserId | None = None, ids: Sequence[UUID] | None = None
    ) -> Page[Attachment]:
        if not who.is_admin:
            if owner not in (None, who.user_id):
                raise Forbidden("Only an admin may see somebody else's attachments.")
            owner = who.user_id
        async with self.begin() as tx:
            return await self.store.list(tx, query, owner=owner, ids=ids)
