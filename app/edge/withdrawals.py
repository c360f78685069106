"""The use cases of revocation: withdraw tokens, lift that again, list what is withdrawn.

What a revocation stops besides requests (open tunnels, runs) subscribes to `Revocations`; nothing of it is named here.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from app.edge.faults import RevocationNotFound, RevocationsFull
from app.edge.revocations import Revocations, RevocationStore
from app.kernel.audit import Act, AuditTrail
from app.kernel.clock import Clock
from app.kernel.errors import FieldError, ValidationFailed
from app.kernel.identity import Principal
from app.kernel.ids import UserId
from app.kernel.paging import ListFields, ListQuery, Page
from app.kernel.revocation import ALWAYS, MAX_NAME_LENGTH, Mark, NewRevocation, Revocation
from app.kernel.transaction import Begin, Tx

MAX_REVOCATIONS = 100_000  # about 50 MB in each worker
MAX_AHEAD = timedelta(minutes=1)
REVOCATION_FIELDS = ListFields(searchable=frozenset(), sortable=frozenset({"id", "created_at", "updated_at"}))

log = structlog.get_logger()

type OnWithdrawing = Callable[[Tx, NewRevocation], Awaitable[None]]
"""Is told of a withdrawal in its transaction: for what is to be gone for good, however long that is kept."""


async def _nothing(tx: Tx, withdrawn: NewRevocation) -> None:
    del tx, withdrawn


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants withdrawn. `token_expires_at` says until when a single token would have been good."""

    mark: Mark
    name: str
    before: datetime | None = None
    token_expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class WithdrawTokens:
    """Refuse tokens from now on: here before the call returns, in every other worker and replica within a second.

    `longest_life` is how long the issuer lets a token live: so long a revocation is kept.
    Errors: ValidationFailed, RevocationsFull; at the bound nothing is forgotten to make room.
    """

    begin: Begin
    store: RevocationStore
    known: Revocations
    clock: Clock
    audit: AuditTrail
    longest_life: timedelta
    leeway: timedelta
    on_withdrawing: OnWithdrawing = _nothing
    limit: int = MAX_REVOCATIONS

    async def __call__(self, who: Principal, wish: Wish, *, request_id: str = "") -> Revocation:
        now = self.clock.now()
        _refuse_invalid(wish, now)
        async with self.begin() as tx:
            draft = self._draft(who, wish, now)
            made = await self.store.add(tx, draft, limit=self.limit)
            if made is None:
                raise RevocationsFull(f"{self.limit} revocations are in force; none is forgotten before its time.")
            await self.on_withdrawing(tx, draft)
            await self.audit.record(tx, _act(who, "revocation.made", made))
        self.known.apply([made])
        log.info("revocation.made", **_told(made), by=who.user_id, request_id=request_id)
        return made

    def _draft(self, who: Principal, wish: Wish, now: datetime) -> NewRevocation:
        before = wish.before or (now if wish.mark is Mark.SUBJECT else ALWAYS)
        last_expiry = wish.token_expires_at or max(now, wish.before or now) + self.longest_life
        return NewRevocation(wish.mark, wish.name, before, last_expiry + self.leeway, who.user_id)


@dataclass(frozen=True, slots=True)
class WithdrawMark:
    """Withdraw what has one `jti`, in somebody else's transaction: an API key that is deleted.

    What it names is gone with that transaction, and only what is under way has to hear of it: so it is kept for as long
    as `life`, and where no more may be kept, processes find out by themselves when they read the key again.
    """

    store: RevocationStore
    known: Revocations
    clock: Clock
    life: timedelta
    limit: int = MAX_REVOCATIONS

    async def withdraw(self, tx: Tx, mark: str, *, by: UserId) -> Callable[[], None]:
        """Give what refuses it here; it is called behind the commit."""
        draft = NewRevocation(Mark.JWT_ID, mark, ALWAYS, self.clock.now() + self.life, by)
        made = await self.store.add(tx, draft, limit=self.limit)
        if made is None:
            log.warning("revocations.full", mark=mark)

        def refuse_here() -> None:
            if made is not None:
                self.known.apply([made])

        return refuse_here


@dataclass(frozen=True, slots=True)
class LiftRevocation:
    """Let tokens in again that were withdrawn by mistake. Errors: RevocationNotFound."""

    begin: Begin
    store: RevocationStore
    known: Revocations
    audit: AuditTrail

    async def __call__(self, who: Principal, revocation_id: int, *, request_id: str = "") -> None:
        async with self.begin() as tx:
            lifted = await self.store.lift(tx, revocation_id)
            if lifted is None:
                raise RevocationNotFound
            await self.audit.record(tx, _act(who, "revocation.lifted", lifted))
        self.known.apply([lifted])
        log.info("revocation.lifted", **_told(lifted), by=who.user_id, request_id=request_id)


@dataclass(frozen=True, slots=True)
class ListRevocations:
    begin: Begin
    store: RevocationStore

    async def __call__(self, query: ListQuery, *, names: Mapping[Mark, str]) -> Page[Revocation]:
        async with self.begin() as tx:
            return await self.store.list(tx, query, names=names)


def _refuse_invalid(wish: Wish, now: datetime) -> None:
    problems = []
    if not 0 < len(wish.name) <= MAX_NAME_LENGTH or not wish.name.isprintable():
        problems.append(FieldError(wish.mark.value, f"must have 1 to {MAX_NAME_LENGTH} printable characters"))
    if wish.before is not None and wish.before > now + MAX_AHEAD:
        # milliseconds for seconds is the usual mistake, and would lock a user out for ever
        problems.append(FieldError("before", "must not lie in the future; numbers are seconds since 1970"))
    if wish.token_expires_at is not None and wish.mark is not Mark.JWT_ID:
        problems.append(FieldError("exp", "goes with jti: the tokens of a sub expire at several times"))
    if problems:
        raise ValidationFailed("Some fields are not valid.", errors=problems)


def _act(who: Principal, action: str, one: Revocation) -> Act:
    owner = UserId(one.name) if one.mark is Mark.SUBJECT else None
    return Act.of(who, action, one.id, owner=owner, mark=one.mark.value, name=one.name, before=one.before.isoformat())


def _told(one: Revocation) -> Mapping[str, object]:
    return {"revocation_id": one.id, one.mark.value: one.name, "before": one.before.isoformat()}
