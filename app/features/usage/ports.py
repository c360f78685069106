"""What the use cases of usage ask of the outside: the ledger of the budgets, and the record of what was spent."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Protocol
from uuid import UUID

from app.agents.turns import Usage
from app.features.usage.domain.budget import Account, Claim
from app.features.usage.domain.spent import Dimension, Settlement, UsageFilter, UsageSum
from app.kernel.ids import RunId
from app.kernel.paging import ListQuery, Page
from app.kernel.transaction import Tx


@dataclass(frozen=True, slots=True)
class Reservation:
    """What one call sets aside. `session` is one process's work on a run, so that no other takes it for its own.

    `is_first` says that nobody worked on the run before, so that there is no past of it to be looked for.
    """

    session: UUID
    key: str
    run_id: RunId
    claims: Sequence[Claim]
    life: timedelta
    is_first: bool = False


@dataclass(frozen=True, slots=True)
class Full:
    """The first account on which a reservation has no room, and what is spent and set aside there."""

    claim: Claim
    spent: int
    held: int

    @property
    def is_for_good(self) -> bool:
        """Whether nothing that others give back would make room."""
        return self.spent >= self.claim.most


class Ledger(Protocol):
    """What is set aside and spent, of every budget, for all processes together. Errors: StorageUnavailable.

    An account that is not known yet begins with what was spent before, so that a new limit knows the past.
    """

    async def reserve(self, reservation: Reservation) -> Full | None:
        """Set aside on all accounts or on none; None when it was done. `fits` is the rule.

        Concurrency: of any number at once, those that come later see what the earlier ones set aside.
        Cost: one statement where every account is known.
        """
        ...

    async def settle(self, session: UUID, key: str, spent: Sequence[tuple[Account, int]], what: Settlement) -> None:
        """Record what was spent, and book it in place of what was set aside, if that is there still.

        What was not confirmed may have been done: done again, it counts twice.
        """
        ...

    async def release(self, run_id: RunId) -> None:
        """Give back what earlier processes set aside for a run and never settled."""
        ...

    async def close(self, tx: Tx, run_id: RunId) -> Usage:
        """Give back what is still set aside for a run that ends, and write what it spent into its row."""
        ...

    async def sweep(self) -> None:
        """Give back what outlived its reservation, and forget accounts nobody needs any more."""
        ...


class UsageStore(Protocol):
    """What was spent, kept for so long. Errors: StorageUnavailable."""

    async def sums(self, tx: Tx, query: ListQuery, *, by: Sequence[Dimension], only: UsageFilter) -> Page[UsageSum]:
        """Add up by the given dimensions; of the newest days first unless the query orders otherwise."""
        ...

    async def forget(self, *, before: date) -> None:
        """Remove what was spent before a day."""
        ...
