"""List keys."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from app.features.keys.domain import Key
from app.features.keys.ports import KeyStore
from app.kernel.errors import Forbidden
from app.kernel.identity import Principal
from app.kernel.ids import UserId
from app.kernel.paging import ListFields, ListQuery, Page
from app.kernel.transaction import Begin

KEY_FIELDS = ListFields(
    searchable=frozenset({"name"}),
    sortable=frozenset({"id", "name", "created_at", "updated_at", "expires_at", "last_used_at"}),
)


@dataclass(frozen=True, slots=True)
class ListKeys:
    """List one's own; for an admin everybody's, or one user's. Errors: Forbidden, for somebody else's."""

    begin: Begin
    store: KeyStore

    async def __call__(
        self, who: Principal, query: ListQuery, *, owner: UserId | None = None, ids: Sequence[UUID] | None = None
    ) -> Page[Key]:
        if not who.is_admin:
            if owner not in (None, who.user_id):
                raise Forbidden("Only an admin may see somebody else's keys.")
            owner = who.user_id
        async with self.begin() as tx:
            return await self.store.list(tx, query, owner=owner, ids=ids)
