"""The desk of approvals where runs are worked on: what a turn asks, over the store."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog

from app.agents.approvals.desk import Asked, Asker, Decision, NewRequest, Status
from app.features.approvals.ports import ApprovalStore, Notices
from app.kernel.ids import ApprovalId
from app.kernel.transaction import Begin

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PostedApprovals:
    """Implements `ApprovalDesk`. `life` is how long a request waits for somebody."""

    begin: Begin
    store: ApprovalStore
    notices: Notices
    life: timedelta

    async def ask(self, asker: Asker, requests: Sequence[NewRequest], *, is_attended: bool) -> Sequence[Asked]:
        async with self.begin() as tx:
            asked = await self.store.add(tx, asker, requests, life=self.life)
        waiting = [request for request, one in zip(requests, asked, strict=True) if one.id is not None]
        if waiting and not is_attended:
            self.notices.approval_wanted(asker, waiting)
        return asked

    async def take(self, approval_id: ApprovalId) -> Decision:
        async with self.begin() as tx:
            found = await self.store.take(tx, approval_id)
        if found is None:  # removed by hand
            return Decision(Status.EXPIRED, "")
        return Decision(found.status, found.digest, found.reason or "", found.decided_by, found.edited)


class LoggedNotices:
    """What stands in until owners have a place where they are told."""

    def approval_wanted(self, asker: Asker, requests: Sequence[NewRequest]) -> None:
        tools = [request.tool for request in requests]
        log.warning("approval.wanted", run_id=str(asker.run_id), owner=asker.owner, agent=asker.agent, tools=tools)
