import asyncio

import pytest

from app.edge.answers import refusal
from app.edge.faults import Overloaded
from app.edge.load import FEW_REQUESTS, PATIENCE, Load
from app.edge.middleware.load import EnterLoad, ShedLoad, TurnAway
from tests.unit.edge.busy import Time
from tests.unit.edge.parts import a_record, outcome


def overloaded() -> Load:
    """A load in a round that takes too long; it is over with the loop's next turn."""
    clock = Time()
    load = Load(monotonic_s=clock)
    for _ in range(FEW_REQUESTS):
        load.enter()
    load.is_late()
    clock.now_s += PATIENCE.burst_s
    return load


def full() -> Load:
    load = Load(max_requests=1)
    load.enter()
    return load


async def test_nobody_is_turned_away_as_long_as_there_is_time() -> None:
    load = overloaded()
    await asyncio.sleep(0)

    assert {outcome(ShedLoad(load), a_record()) for _ in range(100)} == {"goes on"}
    assert load.shed_total == 0


async def test_in_a_round_that_takes_too_long_everybody_is() -> None:
    load = overloaded()

    assert {outcome(ShedLoad(load), a_record()) for _ in range(100)} == {"503"}
    assert load.shed_total == 100


def test_a_full_worker_turns_everybody_away() -> None:
    assert outcome(ShedLoad(full()), a_record()) == "503"


def test_who_is_turned_away_is_told_to_come_back() -> None:
    record = a_record("GET", '/a"b\\c')
    record.id = "a-request"

    answer = TurnAway(Load())(record)

    fault = Overloaded("There are more requests than can be served in time.", headers={"retry-after": "1"})
    assert answer == refusal(record, fault)
    assert record.reason == "overloaded"


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/api/health/ping", "goes on"),
        ("/api/health/ready", "goes on"),
        ("/api/health/service_health", "503"),
        ("/api/health/ping/", "503"),
    ],
)
def test_whether_it_lives_is_always_told(target: str, expected: str) -> None:
    assert outcome(ShedLoad(full()), a_record("GET", target)) == expected


def test_what_is_let_in_is_open() -> None:
    load, record = Load(), a_record()

    assert EnterLoad(load)(record) is None
    assert (load.requests_open, record.is_open) == (1, True)
