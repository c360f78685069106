"""What is approved for a whole chat: list it, and take it back."""

from dataclasses import dataclass, replace

from app.features.approvals.domain import (
    ApprovalByAgent,
    StandingApproval,
    StandingApprovalNotFound,
    StandingFilter,
    may_decide,
)
from app.features.approvals.ports import ApprovalStore
from app.kernel.audit import Act, AuditTrail
from app.kernel.errors import Forbidden
from app.kernel.identity import Principal
from app.kernel.ids import ApprovalId
from app.kernel.paging import ListFields, ListQuery, Page
from app.kernel.transaction import Begin

STANDING_FIELDS = ListFields(
    searchable=frozenset({"tool", "agent"}), sortable=frozenset({"tool", "agent", "chat_id", "created_at"})
)


@dataclass(frozen=True, slots=True)
class ListStandingApprovals:
    """List one's own; for an admin everybody's, or one user's.

    Errors: Forbidden, when somebody else's are asked for.
    """

    begin: Begin
    store: ApprovalStore

    async def __call__(self, who: Principal, query: ListQuery, *, only: StandingFilter) -> Page[StandingApproval]:
        if not who.is_admin:
            if only.owner not in (None, who.user_id):
                raise Forbidden("Only an admin may see what somebody else approved.")
            only = replace(only, owner=who.user_id)
        async with self.begin() as tx:
            return await self.store.standing(tx, query, only=only)


@dataclass(frozen=True, slots=True)
class TakeBackApproval:
    """Have a tool asked about again that was approved for a whole chat; what was done meanwhile stays done.

    By its owner or an admin, never by an agent. Errors: ApprovalByAgent, StandingApprovalNotFound.
    """

    begin: Begin
    store: ApprovalStore
    audit: AuditTrail

    async def __call__(self, who: Principal, approval_id: ApprovalId) -> None:
        if who.acting is not None:
            raise ApprovalByAgent
        async with self.begin() as tx:
            found = await self.store.find(tx, approval_id)
            if found is None or not may_decide(who, found) or not await self.store.take_back(tx, found):
                raise StandingApprovalNotFound
            facts = {"chat_id": found.chat_id, "agent": found.agent, "tool": found.tool}
            await self.audit.record(tx, Act.of(who, "approval.taken_back", found.id, owner=found.owner, **facts))
