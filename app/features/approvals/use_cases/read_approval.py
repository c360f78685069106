"""Read a request for approval."""

from dataclasses import dataclass

from app.features.approvals.domain import Approval, ApprovalNotFound, may_decide
from app.features.approvals.ports import ApprovalStore
from app.kernel.identity import Principal
from app.kernel.ids import ApprovalId
from app.kernel.transaction import Begin


@dataclass(frozen=True, slots=True)
class ReadApproval:
    """Errors: ApprovalNotFound, also for somebody else's."""

    begin: Begin
    store: ApprovalStore

    async def __call__(self, who: Principal, approval_id: ApprovalId) -> Approval:
        async with self.begin() as tx:
            found = await self.store.find(tx, approval_id)
        if found is None or not may_decide(who, found):
            raise ApprovalNotFound
        return found
