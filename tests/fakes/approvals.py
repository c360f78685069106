"""Requests for approval in memory, held by the contract tests of the real store."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from app.agents.approvals.desk import Asked, Asker, NewRequest, Status, digest_of
from app.features.approvals.domain import Approval, ApprovalFilter, Ruling, StandingApproval, StandingFilter
from app.kernel.ids import ApprovalId, ChatId, RunId, UserId, new_run_id
from app.kernel.paging import ListQuery, Page
from app.kernel.transaction import Tx


@dataclass
class FakeApprovalStore:
    kept: dict[tuple[RunId, str], Approval] = field(default_factory=dict)
    allowed: dict[tuple[ChatId | None, str, str], StandingApproval] = field(default_factory=dict)
    live: set[RunId] = field(default_factory=set)

    @property
    def all(self) -> list[Approval]:
        return [_as_of_now(one) for one in self.kept.values()]

    async def add(self, tx: Tx, asker: Asker, requests: Sequence[NewRequest], *, life: timedelta) -> Sequence[Asked]:
        del tx
        now = datetime.now(UTC)
        found = []
        for request in requests:
            if asker.chat_id is not None and (asker.chat_id, asker.agent, request.tool) in self.allowed:
                found.append(Asked(None, now + life))
                continue
            one = self.kept.setdefault((asker.run_id, request.key), _new(asker, request, now, life))
            found.append(Asked(one.id, one.expires_at))
        return found

    async def find(self, tx: Tx, approval_id: ApprovalId) -> Approval | None:
        del tx
        return next((one for one in self.all if one.id == approval_id), None)

    async def list(self, tx: Tx, query: ListQuery, *, only: ApprovalFilter) -> Page[Approval]:
        del tx
        found = [one for one in self.all if _is_wanted(one, only) and _matches(one, query)]
        found.sort(key=lambda one: (str(getattr(one, query.order_by or "id")), one.id))
        if query.sort_order == "desc":
            found.reverse()
        return Page(found[query.offset : query.offset + query.limit], len(found), query.limit, query.offset)

    async def decide(self, tx: Tx, approval_id: ApprovalId, ruling: Ruling, *, by: UserId) -> Approval | None:
        found = await self.find(tx, approval_id)
        if found is None or found.status is not Status.PENDING:
            return None
        return self._put(
            replace(
                found,
                status=Status.APPROVED if ruling.is_approved else Status.DENIED,
                reason=ruling.reason,
                scope=ruling.scope if ruling.is_approved else None,
                edited=ruling.arguments,
                decided_by=by,
                decided_at=datetime.now(UTC),
            )
        )

    async def take(self, tx: Tx, approval_id: ApprovalId) -> Approval | None:
        found = await self.find(tx, approval_id)
        if found is None or found.status in {Status.APPROVED, Status.DENIED}:
            return found
        return self._put(replace(found, status=Status.EXPIRED, decided_at=found.decided_at or datetime.now(UTC)))

    async def close(self, tx: Tx, run_id: RunId, *, reason: str) -> Sequence[Approval]:
        del tx
        pending = [one for one in self.kept.values() if one.run_id == run_id and one.status is Status.PENDING]
        now = datetime.now(UTC)
        return [self._put(replace(one, status=Status.EXPIRED, reason=reason, decided_at=now)) for one in pending]

    async def allow(self, tx: Tx, approval: Approval, *, by: UserId) -> None:
        del tx
        now, chat_id = datetime.now(UTC), approval.chat_id or ChatId(0)
        one = StandingApproval(approval.id, chat_id, approval.owner, approval.agent, approval.tool, by, now, now)
        self.allowed.setdefault((approval.chat_id, approval.agent, approval.tool), one)

    async def standing(self, tx: Tx, query: ListQuery, *, only: StandingFilter) -> Page[StandingApproval]:
        del tx
        found = [one for one in self.allowed.values() if only.owner in (None, one.owner)]
        found = [one for one in found if only.chat_id in (None, one.chat_id) and _matches(one, query)]
        found.sort(key=lambda one: (str(getattr(one, query.order_by or "created_at")), one.approval_id))
        if query.sort_order == "desc":
            found.reverse()
        return Page(found[query.offset : query.offset + query.limit], len(found), query.limit, query.offset)

    async def take_back(self, tx: Tx, approval: Approval) -> bool:
        del tx
        return self.allowed.pop((approval.chat_id, approval.agent, approval.tool), None) is not None

    async def count_old(self, tx: Tx, *, age: timedelta) -> int:
        del tx
        return len(self._old(age))

    async def forget(self, tx: Tx, *, age: timedelta) -> int:
        del tx
        old = self._old(age)
        self.kept = {key: one for key, one in self.kept.items() if one.id not in old}
        return len(old)

    def _old(self, age: timedelta) -> set[ApprovalId]:
        since, stands = datetime.now(UTC) - age, {one.approval_id for one in self.allowed.values()}
        return {
            one.id
            for one in self.kept.values()
            if (one.decided_at or one.expires_at) < since and one.id not in stands and one.run_id not in self.live
        }

    def _put(self, changed: Approval) -> Approval:
        key = next(key for key, one in self.kept.items() if one.id == changed.id)
        self.kept[key] = changed
        return changed


def _new(asker: Asker, request: NewRequest, now: datetime, life: timedelta) -> Approval:
    return Approval(
        id=ApprovalId(new_run_id()),
        run_id=asker.run_id,
        chat_id=asker.chat_id,
        owner=asker.owner,
        agent=asker.agent,
        tool_call_id=request.tool_call_id,
        tool=request.tool,
        risk=request.risk,
        arguments=request.arguments,
        digest=digest_of(request.tool, request.arguments),
        question=request.question,
        status=Status.PENDING,
        created_at=now,
        updated_at=now,
        expires_at=now + life,
    )


def _as_of_now(one: Approval) -> Approval:
    is_over = one.status is Status.PENDING and one.expires_at <= datetime.now(UTC)
    return replace(one, status=Status.EXPIRED) if is_over else one


def _is_wanted(one: Approval, only: ApprovalFilter) -> bool:
    names = ("owner", "status", "chat_id", "run_id", "tool")
    if only.ids is not None and one.id not in only.ids:
        return False
    return all(getattr(only, name) in (None, getattr(one, name)) for name in names)


def _matches(one: Approval | StandingApproval, query: ListQuery) -> bool:
    if query.created_before is not None and one.created_at >= query.created_before:
        return False
    if query.created_after is not None and one.created_at <= query.created_after:
        return False
    if query.search is None:
        return True
    text, wanted = str(getattr(one, query.search.field)), query.search.text
    return wanted.lower() in text.lower() if query.search.ignore_case else wanted in text
