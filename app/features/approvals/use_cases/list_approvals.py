"""List requests for approval."""

from dataclasses import dataclass, replace

from app.features.approvals.domain import Approval, ApprovalFilter
from app.features.approvals.ports import ApprovalStore
from app.kernel.errors import Forbidden
from app.kernel.identity import Principal
from app.kernel.paging import ListFields, ListQuery, Page
from app.kernel.transaction import Begin

APPROVAL_FIELDS = ListFields(
    searchable=frozenset({"tool", "agent", "question"}),
    sortable=frozenset({"id", "tool", "created_at", "updated_at", "expires_at"}),
)


@dataclass(frozen=True, slots=True)
class ListApprovals:
    """List one's own; for an admin everybody's, or one user's.

    Errors: Forbidden, when somebody else's are asked for.
    """

    begin: Begin
    store: ApprovalStore

    async def __call__(self, who: Principal, query: ListQuery, *, only: ApprovalFilter) -> Page[Approval]:
        if not who.is_admin:
            if only.owner not in (None, who.user_id):
                raise Forbidden("Only an admin may see what somebody else is asked.")
            only = replace(only, owner=who.user_id)
        async with self.begin() as tx:
            return await self.store.list(tx, query, only=only)
