"""Tell what was done."""

from dataclasses import dataclass

from app.features.audit.domain import AuditFilter, Entry
from app.features.audit.ports import AuditStore
from app.kernel.paging import ListFields, ListQuery, Page
from app.kernel.transaction import Begin

AUDIT_FIELDS = ListFields(
    searchable=frozenset({"who", "owner", "action", "object_id"}),
    sortable=frozenset({"id", "at", "who", "owner", "action"}),
)


@dataclass(frozen=True, slots=True)
class ListAudit:
    """For admins: the door keeps others out."""

    begin: Begin
    store: AuditStore

    async def __call__(self, query: ListQuery, *, only: AuditFilter) -> Page[Entry]:
        async with self.begin() as tx:
            return await self.store.list(tx, query, only=only)
