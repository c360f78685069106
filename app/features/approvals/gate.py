"""The desk of approvals where runs are worked on: what a turn asks, over the store, and whom that is told."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from app.agents.approvals.desk import Asked, Asker, Decision, NewRequest, Status
from app.features.approvals.ports import ApprovalStore, Notices, Wanted
from app.features.notifications.domain.news import About, Kind, News
from app.features.notifications.ports import Preferences
from app.features.notifications.use_cases.notify import Notify
from app.kernel.ids import ApprovalId
from app.kernel.transaction import Begin, Tx


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
            wanted = [
                Wanted(one.id, request, one.expires_at)
                for request, one in zip(requests, asked, strict=True)
                if one.id is not None
            ]
            if wanted and not is_attended:
                await self.notices.approval_wanted(tx, asker, wanted)
        return asked

    async def take(self, approval_id: ApprovalId) -> Decision:
        async with self.begin() as tx:
            found = await self.store.take(tx, approval_id)
        if found is None:  # removed by hand
            return Decision(Status.EXPIRED, "")
        return Decision(found.status, found.digest, found.reason or "", found.decided_by, found.edited)


@dataclass(frozen=True, slots=True)
class OwnerNotices:
    """Implements `Notices`: one notification for all that is asked at once, by the rules of the run's task."""

    notify: Notify
    preferences: Preferences

    async def approval_wanted(self, tx: Tx, asker: Asker, wanted: Sequence[Wanted]) -> None:
        rules = await self.preferences.of_run(tx, asker.run_id)
        tools = ", ".join(dict.fromkeys(one.request.tool for one in wanted))
        until = min(one.expires_at for one in wanted)
        questions = dict.fromkeys(f"{one.request.tool}: {one.request.question}" for one in wanted)
        news = News(
            key=f"approval:{wanted[0].id}",
            owner=asker.owner,
            kind=Kind.APPROVAL,
            title=f"{asker.agent} wants to use {tools}",
            text="\n".join((*questions, f"Decide until {until:%Y-%m-%d %H:%M}Z at /api/v1/approvals/")),
            order=rules.order,
            about=About(asker.run_id, rules.task_id, asker.chat_id, asker.agent),
            details={"approval_ids": [str(one.id) for one in wanted]},
        )
        await self.notify(tx, news, rules.config)
