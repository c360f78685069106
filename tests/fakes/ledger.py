"""The ledger of the budgets in memory, and the record of what was spent that it counts from."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from app.agents.turns import Usage
from app.features.usage.domain.budget import Account, Limit, Scope, amounts_of, fits
from app.features.usage.domain.spent import Settlement
from app.features.usage.ports import Full, Reservation
from app.kernel.errors import Unavailable
from app.kernel.ids import RunId
from app.kernel.transaction import Tx

NOTHING = Usage()


@asynccontextmanager
async def no_transaction() -> AsyncIterator[Tx]:
    yield object()


@dataclass
class FakeLedger:
    """`is_away` makes it unreachable, `is_silent` a settlement last for ever; `closed` is what runs came to."""

    is_away: bool = False
    is_silent: bool = False
    settlements: list[Settlement] = field(default_factory=list)
    reservations: dict[tuple[UUID, str], tuple[Reservation, datetime]] = field(default_factory=dict)
    closed: dict[RunId, Usage] = field(default_factory=dict)

    async def reserve(self, reservation: Reservation) -> Full | None:
        self._ask()
        full = [
            Full(claim, spent, held)
            for claim in reservation.claims
            for spent, held in [self._standing(claim.account)]
            if not fits(claim, spent=spent, held=held)
        ]
        if full:
            return max(full, key=lambda one: one.is_for_good)
        until = datetime.now(UTC) + reservation.life
        self.reservations[reservation.session, reservation.key] = (reservation, until)
        return None

    async def settle(self, session: UUID, key: str, spent: Sequence[tuple[Account, int]], what: Settlement) -> None:
        del spent
        self._ask()
        if self.is_silent:
            await asyncio.Event().wait()
        self.reservations.pop((session, key), None)
        self.settlements.append(what)

    async def release(self, run_id: RunId) -> None:
        self._ask()
        self._drop([place for place, (one, _) in self.reservations.items() if one.run_id == run_id])

    async def close(self, tx: Tx, run_id: RunId) -> Usage:
        del tx
        await self.release(run_id)
        self.closed[run_id] = sum(
            (what.spent for what in self.settlements if what.payer.run_id == run_id), start=NOTHING
        )
        return self.closed[run_id]

    async def sweep(self) -> None:
        self._ask()
        now = datetime.now(UTC)
        self._drop([place for place, (_, until) in self.reservations.items() if until <= now])

    def _drop(self, places: Sequence[tuple[UUID, str]]) -> None:
        for place in places:
            del self.reservations[place]

    def _standing(self, account: Account) -> tuple[int, int]:
        spent = sum(
            amounts_of(what.spent, seconds=what.milliseconds / 1000)[account.limit]
            for what in self.settlements
            if _pays(account, what)
        )
        claims = [claim for one, _ in self.reservations.values() for claim in one.claims]
        return spent, sum(claim.amount for claim in claims if claim.account == account)

    def _ask(self) -> None:
        if self.is_away:
            raise Unavailable("The ledger does not answer.")


def _pays(account: Account, what: Settlement) -> bool:
    above = () if account.limit is Limit.SECONDS else what.payer.ancestors
    whose: dict[Scope, set[str]] = {
        Scope.RUN: {str(what.payer.run_id), *(str(one.run_id) for one in above)},
        Scope.CHAT: {str(what.payer.chat_id)},
        Scope.USER: {what.payer.user_id},
        Scope.DAY: {""},
    }
    return account.purse.name in whose[account.purse.scope] and account.purse.day in (None, what.day)
