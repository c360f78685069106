"""When a breaker opens, for how long, and what closes it, in a time of its own."""

import pytest

from app.edge.breaker import FIRST_PAUSE_S, JITTER, LONGEST_PAUSE_S, Breaker, BreakerRules, BreakerState


def a_breaker(*, failures: int = 3, window_s: float = 10, spread: float = 0.5) -> Breaker:
    return Breaker(BreakerRules(failures, window_s), lambda: spread)


def fail(breaker: Breaker, *times_s: float) -> list[bool]:
    return [breaker.note_failure(time_s) for time_s in times_s]


def test_enough_failures_within_the_window_open_it() -> None:
    assert fail(a_breaker(), 100, 105, 109) == [False, False, True]


def test_failures_further_apart_do_not() -> None:
    assert fail(a_breaker(), 100, 105, 110, 115, 120) == [False] * 5


def test_a_few_failures_among_many_answers_do_not() -> None:
    breaker = a_breaker()
    opened = []

    for time_s in range(9):
        opened += fail(breaker, 100 + time_s)
        breaker.answers += 2

    assert not any(opened)


def test_answers_of_long_ago_excuse_nothing() -> None:
    breaker = a_breaker()
    breaker.answers += 1_000_000

    assert fail(breaker, 100, 100, 100) == [False, False, True]


def test_as_many_failures_as_answers_open_it() -> None:
    breaker = a_breaker()
    fail(breaker, 100)
    breaker.answers += 3

    assert fail(breaker, 101, 102) == [False, True]


def test_a_breaker_without_a_limit_never_opens() -> None:
    breaker = a_breaker(failures=0)

    assert not any(fail(breaker, *([100.0] * 1000)))
    assert not any(breaker.note_overload(100) for _ in range(1000))


def overload(breaker: Breaker, number: int) -> bool:
    seen = False
    for _ in range(number):
        breaker.answers += 1
        seen = breaker.note_overload(100)
    return seen


def test_answers_that_say_overloaded_count_only_when_they_are_many() -> None:
    assert not overload(a_breaker(), 11)
    assert overload(a_breaker(), 12)


def test_answers_that_say_overloaded_count_only_when_they_are_most() -> None:
    breaker = a_breaker()
    overload(breaker, 1)
    breaker.answers += 4

    assert not overload(breaker, 14)
    assert overload(breaker, 1)


def test_what_is_open_does_not_open_again() -> None:
    breaker = a_breaker(failures=1)
    breaker.note_failure(100)
    breaker.open(100)

    assert fail(breaker, 101, 102) == [False, False]
    assert not overload(breaker, 100)


def test_pauses_grow_to_a_limit() -> None:
    breaker = a_breaker()

    pauses_s = [breaker.open(1000 + time_s) for time_s in range(7)]

    assert pauses_s == [1, 2, 4, 8, 16, LONGEST_PAUSE_S, LONGEST_PAUSE_S]
    assert (breaker.opened, breaker.reopens_at_s) == (7, 1006 + LONGEST_PAUSE_S)


def test_a_short_relief_does_not_shorten_the_next_pause() -> None:
    breaker = a_breaker()
    breaker.open(1000)
    breaker.close(1001)

    assert breaker.open(1002) == 2


def test_a_long_relief_does() -> None:
    breaker = a_breaker()
    for _ in range(5):
        breaker.open(1000)
    breaker.close(1001)

    assert breaker.open(1002 + LONGEST_PAUSE_S) == FIRST_PAUSE_S


@pytest.mark.parametrize(("spread", "pause_s"), [(0, 1 - JITTER), (1, 1 + JITTER)])
def test_pauses_are_spread(spread: float, pause_s: float) -> None:
    assert a_breaker(spread=spread).open(100) == pytest.approx(pause_s)


def test_what_is_closed_begins_to_count_anew() -> None:
    breaker = a_breaker()
    fail(breaker, 100, 100, 100)
    breaker.open(100)

    breaker.close(101)

    assert breaker.state is BreakerState.CLOSED
    assert fail(breaker, 101, 101, 101) == [False, False, True]
