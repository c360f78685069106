from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from app.edge.revocations import STALE_S, Revocations
from app.infra.observability.health import NotWell
from app.kernel.identity import Principal
from app.kernel.ids import UserId
from app.kernel.revocation import ALWAYS, Mark, Revocation
from tests.unit.edge.parts import NOW_S, StillClock


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(NOW_S + seconds, UTC)


def a_revocation(
    name: str = "ann",
    mark: Mark = Mark.SUBJECT,
    *,
    number: int = 1,
    before: datetime | None = None,
    lifted: bool = False,
) -> Revocation:
    bound = before or (at(0) if mark is Mark.SUBJECT else ALWAYS)
    return Revocation(number, number, mark, name, bound, at(1000), "root", at(0), at(0), is_lifted=lifted)


def a_principal(user_id: str = "ann", token_id: str | None = None, issued_at: float = NOW_S - 1) -> Principal:
    return Principal(UserId(user_id), "user", frozenset(), NOW_S + 60, token_id=token_id, issued_at=issued_at)


def those_of(*entries: Revocation) -> Revocations:
    known = Revocations(StillClock())
    known.apply(entries)
    return known


@pytest.mark.parametrize(
    ("who", "is_refused"),
    [
        pytest.param(a_principal(issued_at=NOW_S - 0.001), True, id="issued before"),
        pytest.param(a_principal(issued_at=NOW_S), False, id="issued at that moment"),
        pytest.param(a_principal(issued_at=NOW_S + 1), False, id="issued after"),
        pytest.param(a_principal(issued_at=float("-inf")), True, id="does not say when it was issued"),
        pytest.param(a_principal("ben"), False, id="somebody else's"),
        pytest.param(a_principal("ben", token_id="ann"), False, id="a token of the user's name"),
    ],
)
def test_the_tokens_of_a_user_issued_before_are_refused(who: Principal, *, is_refused: bool) -> None:
    assert those_of(a_revocation("ann")).refuses(who) is is_refused


@pytest.mark.parametrize(
    ("who", "is_refused"),
    [
        pytest.param(a_principal("ben", token_id="t1"), True, id="that token"),
        pytest.param(a_principal("ben", token_id="t1", issued_at=NOW_S + 999), True, id="however young"),
        pytest.param(a_principal("ben", token_id="t2"), False, id="another token"),
        pytest.param(a_principal("t1"), False, id="a user of the token's name"),
    ],
)
def test_a_single_token_is_refused(who: Principal, *, is_refused: bool) -> None:
    assert those_of(a_revocation("t1", Mark.JWT_ID)).refuses(who) is is_refused


def test_of_two_changes_the_later_number_counts_in_whichever_order_they_come() -> None:
    made, lifted = a_revocation(number=1), a_revocation(number=2, lifted=True)
    again = a_revocation(number=3, before=at(100))

    assert not those_of(made, lifted).refuses(a_principal())
    assert those_of(again, made).refuses(a_principal(issued_at=NOW_S + 50))


def test_listeners_are_told_once_of_what_is_new_and_not_of_what_is_lifted() -> None:
    known, told = Revocations(StillClock()), list[Sequence[Revocation]]()
    known.subscribe(told.append)
    made = a_revocation()

    known.apply([made])
    known.apply([made])
    known.apply([a_revocation(number=2, lifted=True)])

    assert told == [[made]]


def test_a_listener_that_has_left_is_told_no_more() -> None:
    known, told = Revocations(StillClock()), list[Sequence[Revocation]]()
    leave = known.subscribe(told.append)

    leave()
    known.apply([a_revocation()])

    assert told == []


def test_what_is_read_anew_replaces_everything_older() -> None:
    known = those_of(a_revocation("ann", number=1), a_revocation("ben", number=2))

    known.replace([a_revocation("ben", number=2)], up_to=2)

    assert not known.refuses(a_principal("ann"))
    assert known.refuses(a_principal("ben"))


def test_what_was_withdrawn_while_everything_was_read_stays() -> None:
    known = those_of(a_revocation("ann", number=1))
    known.apply([a_revocation("ben", number=3)])

    known.replace([a_revocation("ann", number=1)], up_to=2)

    assert known.refuses(a_principal("ben"))


def test_reading_anew_tells_of_what_was_missed_only() -> None:
    known, told = those_of(a_revocation("ann", number=1)), list[Sequence[Revocation]]()
    known.subscribe(told.append)
    missed, wider = a_revocation("ben", number=2), a_revocation("ann", number=3, before=at(5))

    known.replace([a_revocation("ann", number=1)], up_to=1)
    known.replace([missed, wider], up_to=3)

    assert told == [[missed, wider]]


async def test_health_tells_how_old_the_knowledge_is() -> None:
    clock = StillClock()
    known = Revocations(clock)
    known.apply([a_revocation()])

    known.note_heard()
    clock.now_s += 0.5

    assert await known.health() == "1 in force, heard 0.5 s ago"


async def test_knowledge_that_is_too_old_is_not_well() -> None:
    clock = StillClock()
    known = Revocations(clock)
    known.note_heard()

    clock.now_s += STALE_S + 1

    with pytest.raises(NotWell, match="nothing heard of newer ones for 6 s"):
        await known.health()
