import pytest

from app.edge.answers import refusal
from app.edge.faults import Overloaded
from app.edge.load import FEW_REQUESTS, MOST, Load
from app.edge.middleware.load import EnterLoad, ShedLoad
from tests.unit.edge.parts import a_record, outcome


def overloaded() -> Load:
    load = Load(requests_open=FEW_REQUESTS)
    for _ in range(100):
        load.tick(1.0)
    return load


def test_nobody_is_turned_away_as_long_as_there_is_time() -> None:
    stage = ShedLoad(Load(requests_open=FEW_REQUESTS))

    assert {outcome(stage, a_record()) for _ in range(100)} == {"goes on"}


def test_who_is_turned_away_is_told_to_come_back() -> None:
    load = overloaded()
    while not load.sheds():
        pass

    record = a_record("GET", '/a"b\\c')
    record.id = "a-request"
    answer = ShedLoad(load)(record)

    fault = Overloaded("There are more requests than can be served in time.", headers={"retry-after": "1"})
    assert answer == refusal(record, fault)
    assert record.reason == "overloaded"


def test_of_a_hundred_exactly_the_share_is_turned_away() -> None:
    load = overloaded()

    outcomes = [outcome(ShedLoad(load), a_record()) for _ in range(100)]

    assert outcomes.count("503") == pytest.approx(100 * MOST, abs=1)
    assert load.shed_total == outcomes.count("503")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/api/health/ping", {"goes on"}),
        ("/api/health/ready", {"goes on"}),
        ("/api/health/service_health", {"goes on", "503"}),
        ("/api/health/ping/", {"goes on", "503"}),
    ],
)
def test_whether_it_lives_is_always_told(target: str, expected: set[str]) -> None:
    stage = ShedLoad(overloaded())

    assert {outcome(stage, a_record("GET", target)) for _ in range(100)} == expected


def test_what_is_let_in_is_open() -> None:
    load, record = Load(), a_record()

    assert EnterLoad(load)(record) is None
    assert (load.requests_open, record.is_open) == (1, True)
