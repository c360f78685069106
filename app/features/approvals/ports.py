"""What the use cases of approvals ask of the outside."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from app.agents.approvals.desk import Asked, Asker, NewRequest
from app.features.approvals.domain import Approval, ApprovalFilter, Ruling, StandingApproval, StandingFilter
from app.kernel.ids import ApprovalId, RunId, UserId
from app.kernel.paging import ListQuery, Page
from app.kernel.transaction import Tx


@dataclass(frozen=True, slots=True)
class Wanted:
    """A request that waits, under the id it is decided by."""

    id: ApprovalId
    request: NewRequest
    expires_at: datetime


class ApprovalStore(Protocol):
    """Requests for leave. A status is as of the database's clock. Errors: StorageUnavailable from every method."""

    async def add(self, tx: Tx, asker: Asker, requests: Sequence[NewRequest], *, life: timedelta) -> Sequence[Asked]:
        """Add requests, but for those that were added before by their key, and those that are always approved."""
        ...

    async def find(self, tx: Tx, approval_id: ApprovalId) -> Approval | None: ...

    async def list(self, tx: Tx, query: ListQuery, *, only: ApprovalFilter) -> Page[Approval]:
        """List requests, the newest first unless the query orders otherwise."""
        ...

    async def decide(self, tx: Tx, approval_id: ApprovalId, ruling: Ruling, *, by: UserId) -> Approval | None:
        """Decide what is pending still; None where it is not. Concurrency: of any number at once one decides."""
        ...

    async def take(self, tx: Tx, approval_id: ApprovalId) -> Approval | None:
        """Find a request for the run that asked; one that is pending still is closed as expired."""
        ...

    async def close(self, tx: Tx, run_id: RunId, *, reason: str) -> Sequence[Approval]:
        """Close what is pending of a run that is over; gives what was closed."""
        ...

    async def allow(self, tx: Tx, approval: Approval, *, by: UserId) -> None:
        """Approve the tool for this agent in this chat from now on."""
        ...

    async def standing(self, tx: Tx, query: ListQuery, *, only: StandingFilter) -> Page[StandingApproval]:
        """List what is approved from now on, the newest first unless the query orders otherwise."""
        ...

    async def take_back(self, tx: Tx, approval: Approval) -> bool:
        """Have the tool of this request asked about again, for its agent in its chat; False where it is already."""
        ...

    async def count_old(self, tx: Tx, *, age: timedelta) -> int:
        """Tell how many `forget` would remove."""
        ...

    async def forget(self, tx: Tx, *, age: timedelta) -> int:
        """Remove requests that were decided, or expired, so long ago, some at a time; tells how many.

        Those that a standing approval rests on, and those of a run that is not over, stay.
        """
        ...


class Notices(Protocol):
    """Who tells an owner that something waits for them, when they do not look."""

    async def approval_wanted(self, tx: Tx, asker: Asker, wanted: Sequence[Wanted]) -> None:
        """Write it down with the transaction that asks; the same requests again are told of once."""
        ...
