"""Close what a run that is over still asks."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.features.approvals.domain import Approval
from app.features.approvals.ports import ApprovalStore
from app.infra.events.ports import EventType, NewEvent
from app.kernel.ids import RunId
from app.kernel.transaction import Tx

REASON = "the run was over before anybody decided"


@dataclass(frozen=True, slots=True)
class CloseApprovals:
    """For whoever ends a run, in the transaction that ends it; gives what is to be said of it."""

    store: ApprovalStore

    async def __call__(self, tx: Tx, run_id: RunId) -> Sequence[NewEvent]:
        closed = await self.store.close(tx, run_id, reason=REASON)
        return [NewEvent(EventType.TOOL_APPROVAL_DECIDED, _said(one)) for one in closed]


def _said(one: Approval) -> dict[str, str | None]:
    return {
        "tool_call_id": one.tool_call_id,
        "approval_id": str(one.id),
        "tool": one.tool,
        "status": one.status.value,
        "decided_by": None,
        "reason": one.reason,
        "arguments": None,
    }
