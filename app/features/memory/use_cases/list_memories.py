"""Tell a person what is remembered of them."""

from dataclasses import dataclass

from app.features.memory.domain import Kept
from app.features.memory.ports import MemoryStore
from app.kernel.identity import Principal
from app.kernel.paging import ListFields, ListQuery, Page
from app.kernel.transaction import Begin

MEMORY_FIELDS = ListFields(
    searchable=frozenset({"text"}), sortable=frozenset({"id", "text", "created_at", "updated_at"})
)


@dataclass(frozen=True, slots=True)
class ListMemories:
    """One's own, and nobody else's: not for staff, and not for admins."""

    begin: Begin
    store: MemoryStore

    async def __call__(self, who: Principal, query: ListQuery) -> Page[Kept]:
        async with self.begin() as tx:
            return await self.store.list(tx, who.user_id, query)
