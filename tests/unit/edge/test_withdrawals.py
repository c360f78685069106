from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from app.edge.faults import RevocationNotFound, RevocationsFull
from app.edge.revocations import Revocations
from app.edge.withdrawals import LiftRevocation, ListRevocations, Wish, WithdrawTokens
from app.kernel.errors import ValidationFailed
from app.kernel.identity import Principal
from app.kernel.ids import UserId
from app.kernel.paging import ListQuery
from app.kernel.revocation import ALWAYS, Mark
from tests.builders import a_principal
from tests.fakes.audit import FakeAuditStore
from tests.fakes.revocations import FakeRevocationStore
from tests.unit.edge.parts import NOW_S, StillClock

ROOT = a_principal(user_id="root", role="admin")
NOW = datetime.fromtimestamp(NOW_S, UTC)
LIFE, LEEWAY = timedelta(days=30), timedelta(seconds=10)
EXPIRY = NOW + timedelta(minutes=15)


class Store(FakeRevocationStore):
    def now(self) -> datetime:
        return NOW


@dataclass
class Desk:
    limit: int = 10
    store: Store = field(default_factory=Store)
    known: Revocations = field(default_factory=Revocations)
    audit: FakeAuditStore = field(default_factory=FakeAuditStore)

    @property
    def withdraw(self) -> WithdrawTokens:
        return WithdrawTokens(
            self.store.begin,
            self.store,
            self.known,
            StillClock(),
            self.audit,
            longest_life=LIFE,
            leeway=LEEWAY,
            limit=self.limit,
        )

    @property
    def lift(self) -> LiftRevocation:
        return LiftRevocation(self.store.begin, self.store, self.known, self.audit)

    @property
    def list(self) -> ListRevocations:
        return ListRevocations(self.store.begin, self.store)


def of_ann(issued_at: float, token_id: str | None = None) -> Principal:
    return Principal(UserId("ann"), "user", frozenset(), NOW_S + 60, token_id=token_id, issued_at=issued_at)


@pytest.mark.parametrize(
    ("wish", "before", "expires_at"),
    [
        pytest.param(Wish(Mark.SUBJECT, "ann"), NOW, NOW + LIFE + LEEWAY, id="a user, until now"),
        pytest.param(Wish(Mark.SUBJECT, "ann", NOW - LIFE), NOW - LIFE, NOW + LIFE + LEEWAY, id="a user, until then"),
        pytest.param(Wish(Mark.JWT_ID, "t1"), ALWAYS, NOW + LIFE + LEEWAY, id="a token"),
        pytest.param(
            Wish(Mark.JWT_ID, "t1", token_expires_at=EXPIRY), ALWAYS, EXPIRY + LEEWAY, id="a token that tells its end"
        ),
        pytest.param(Wish(Mark.JWT_ID, "t1", NOW), NOW, NOW + LIFE + LEEWAY, id="a token, if it is old enough"),
    ],
)
async def test_a_revocation_lasts_until_no_token_it_means_can_be_good(
    wish: Wish, before: datetime, expires_at: datetime
) -> None:
    made = await Desk().withdraw(ROOT, wish)

    assert (made.mark, made.name, made.before, made.expires_at) == (wish.mark, wish.name, before, expires_at)
    assert made.created_by == "root"


async def test_this_process_refuses_before_the_call_returns() -> None:
    desk = Desk()

    await desk.withdraw(ROOT, Wish(Mark.SUBJECT, "ann"))

    assert desk.known.refuses(of_ann(NOW_S - 1))
    assert not desk.known.refuses(of_ann(NOW_S))


async def test_what_was_withdrawn_and_lifted_is_in_the_audit() -> None:
    desk = Desk()

    made = await desk.withdraw(ROOT, Wish(Mark.SUBJECT, "ann"))
    await desk.lift(ROOT, made.id)

    told = [(act.who, act.action, act.object_id, act.owner) for act in desk.audit.acts]
    assert told == [
        ("root", "revocation.made", str(made.id), "ann"),
        ("root", "revocation.lifted", str(made.id), "ann"),
    ]


async def test_a_lifted_revocation_refuses_nobody() -> None:
    desk = Desk()
    made = await desk.withdraw(ROOT, Wish(Mark.JWT_ID, "t1"))

    await desk.lift(ROOT, made.id)

    assert not desk.known.refuses(of_ann(NOW_S, "t1"))
    with pytest.raises(RevocationNotFound):
        await desk.lift(ROOT, made.id)


async def test_at_the_bound_the_wish_is_refused_and_what_is_in_force_stays() -> None:
    desk = Desk(limit=1)
    await desk.withdraw(ROOT, Wish(Mark.SUBJECT, "ann"))

    with pytest.raises(RevocationsFull):
        await desk.withdraw(ROOT, Wish(Mark.SUBJECT, "ben"))

    assert [one.name for one in (await desk.list(ListQuery(), names={})).items] == ["ann"]


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        pytest.param(Wish(Mark.SUBJECT, ""), "sub", id="nobody"),
        pytest.param(Wish(Mark.SUBJECT, "a" * 256), "sub", id="too long a name"),
        pytest.param(Wish(Mark.JWT_ID, "a\0b"), "jti", id="a control character"),
        pytest.param(Wish(Mark.SUBJECT, "ann", NOW + timedelta(seconds=61)), "before", id="the future"),
        pytest.param(Wish(Mark.SUBJECT, "ann", token_expires_at=EXPIRY), "exp", id="exp of many tokens"),
    ],
)
async def test_a_wish_that_cannot_be_meant_is_refused_by_its_field(wish: Wish, field: str) -> None:
    desk = Desk()

    with pytest.raises(ValidationFailed) as refused:
        await desk.withdraw(ROOT, wish)

    assert [error.field for error in refused.value.errors] == [field]
    assert desk.store.rows == {}


async def test_who_withdrew_and_who_lifted_what_is_logged() -> None:
    desk = Desk()

    with capture_logs() as events:
        made = await desk.withdraw(ROOT, Wish(Mark.SUBJECT, "ann"), request_id="r1")
        await desk.lift(ROOT, made.id, request_id="r2")

    shared = {"revocation_id": made.id, "sub": "ann", "before": NOW.isoformat(), "by": "root", "log_level": "info"}
    assert events == [
        {"event": "revocation.made", "request_id": "r1", **shared},
        {"event": "revocation.lifted", "request_id": "r2", **shared},
    ]
