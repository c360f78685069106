"""Decide a request for approval."""

from dataclasses import dataclass

from app.agents.approvals.desk import Status, wait_key
from app.features.approvals.domain import (
    Approval,
    ApprovalByAgent,
    ApprovalDecided,
    ApprovalNotFound,
    Ruling,
    may_decide,
)
from app.features.approvals.ports import ApprovalStore
from app.infra.durable.ports import Engine, RunNotFound, RunQueue
from app.kernel.audit import Act, AuditTrail
from app.kernel.errors import ValidationFailed
from app.kernel.identity import Principal
from app.kernel.ids import ApprovalId
from app.kernel.keyed_requests import KeyedRequest, Receipts
from app.kernel.transaction import Begin, Tx


@dataclass(frozen=True, slots=True)
class DecideApproval:
    """Approve or deny, once, and let the run go on that waits for it, wherever a worker is free.

    By its owner or an admin, never by an agent. Of several who decide one is first; the others are told what was
    decided. A keyed request decides once, however often it is sent.
    Errors: ApprovalByAgent, ApprovalNotFound, ValidationFailed, ApprovalDecided.
    """

    begin: Begin
    store: ApprovalStore
    queue: RunQueue
    engine: Engine
    audit: AuditTrail
    receipts: Receipts

    async def __call__(
        self, who: Principal, approval_id: ApprovalId, ruling: Ruling, *, keyed: KeyedRequest | None = None
    ) -> Approval:
        if who.acting is not None:
            raise ApprovalByAgent
        async with self.begin() as tx:
            found = await self.store.find(tx, approval_id)
            if found is None or not may_decide(who, found):
                raise ApprovalNotFound
            if keyed is not None and await self.receipts.find(tx, keyed) is not None:
                return await self.store.find(tx, approval_id) or found
            if problems := ruling.problems(found):
                raise ValidationFailed("Some fields are not valid.", errors=problems)
            decided = await self._decide(tx, who, found, ruling)
            if keyed is not None:
                await self.receipts.note(tx, keyed, str(approval_id))
        await self.engine.dispatch(decided.run_id)
        return decided

    async def _decide(self, tx: Tx, who: Principal, found: Approval, ruling: Ruling) -> Approval:
        """Errors: ApprovalDecided, which undoes the transaction."""
        # the run's row before the request's, as whoever ends a run takes them
        try:
            is_first = await self.queue.signal(tx, found.run_id, wait_key(found.id), ruling.is_approved)
        except RunNotFound:
            is_first = False
        decided = await self.store.decide(tx, found.id, ruling, by=who.user_id) if is_first else None
        if decided is None:
            raise ApprovalDecided(await self._as_it_is(tx, found))
        if ruling.scope == "chat":
            await self.store.allow(tx, decided, by=who.user_id)
        await self.audit.record(
            tx,
            Act.of(
                who,
                f"approval.{decided.status}",
                decided.id,
                owner=decided.owner,
                run_id=str(decided.run_id),
                tool=decided.tool,
                digest=decided.digest,
                scope=decided.scope,
                is_edited=decided.edited is not None,
            ),
        )
        return decided

    async def _as_it_is(self, tx: Tx, found: Approval) -> Approval:
        """Read it again: whoever was faster has committed. A run that is over, or gave up, leaves nothing pending."""
        now = await self.store.find(tx, found.id) or found
        if now.status is not Status.PENDING:
            return now
        return await self.store.take(tx, found.id) or found
