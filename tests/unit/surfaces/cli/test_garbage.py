import gc
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from app.surfaces.cli.garbage import GROWN_UP_S, MAX_OLD, MAX_REST_S, MIN_FOUND, MIN_OLD, REST_S, Garbage


@dataclass(slots=True)
class Time:
    now_s: float = 0.0

    def monotonic_s(self) -> float:
        return self.now_s


class Knot:
    """Holds itself."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def garbage(time: Time) -> Iterator[Garbage]:
    before = gc.get_threshold()
    garbage = Garbage(time.monotonic_s)
    garbage.begin()
    time.now_s = GROWN_UP_S
    assert not garbage.look(is_quiet=True)
    yield garbage
    garbage.end()
    gc.unfreeze()
    assert gc.get_threshold() == before


def grow_old(collections: int = MIN_OLD) -> None:
    for _ in range(collections):
        gc.collect(1)


def test_python_makes_no_full_collection_by_itself(garbage: Garbage) -> None:
    before = gc.get_stats()[2]["collections"]
    kept = [Knot() for _ in range(300_000)]

    assert gc.get_stats()[2]["collections"] == before
    del kept, garbage


def test_a_full_one_is_made_when_there_is_enough_to_look_at_and_a_rest_is_over(garbage: Garbage, time: Time) -> None:
    assert not garbage.look(is_quiet=True)
    grow_old()
    assert not garbage.look(is_quiet=True)
    time.now_s = REST_S

    assert garbage.look(is_quiet=True)
    assert not garbage.look(is_quiet=True)


def test_it_waits_for_a_quiet_moment_but_not_for_ever(garbage: Garbage, time: Time) -> None:
    grow_old()
    time.now_s = MAX_REST_S - 1
    assert not garbage.look(is_quiet=False)
    time.now_s += 1

    assert garbage.look(is_quiet=False)


def test_where_there_is_much_it_waits_no_longer(garbage: Garbage, time: Time) -> None:
    grow_old(MAX_OLD)
    time.now_s = REST_S

    assert garbage.look(is_quiet=False)


@pytest.mark.parametrize(("knots", "rest_s"), [(0, 2 * REST_S), (MIN_FOUND, REST_S)], ids=["little", "much"])
def test_the_less_it_finds_the_longer_it_rests(garbage: Garbage, time: Time, knots: int, rest_s: float) -> None:
    kept = [Knot() for _ in range(knots)]
    grow_old()
    kept.clear()
    time.now_s = REST_S
    assert garbage.look(is_quiet=True)

    grow_old()
    time.now_s += rest_s - 0.1
    assert not garbage.look(is_quiet=True)
    time.now_s += 0.1
    assert garbage.look(is_quiet=True)


def test_what_is_loaded_behind_the_start_stays_as_well() -> None:
    time = Time()
    garbage = Garbage(time.monotonic_s)
    garbage.begin()
    loaded = [Knot() for _ in range(1000)]
    before = gc.get_freeze_count()

    garbage.look(is_quiet=True)
    assert gc.get_freeze_count() <= before  # what was frozen may die meanwhile
    time.now_s += GROWN_UP_S
    garbage.look(is_quiet=False)

    watched = {id(one) for one in gc.get_objects()}
    garbage.end()
    gc.unfreeze()
    assert not any(id(one) in watched for one in loaded)
