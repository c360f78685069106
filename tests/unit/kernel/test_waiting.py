import pytest

from app.kernel.waiting import Patience, Waiting

PATIENCE = Patience(few=2, burst_s=1.0, fresh_s=0.25, longest_s=5.0)
CROWD = "abcdefgh"


def a_queue(*, since_s: float = 0.0, who: str = CROWD, patience: Patience = PATIENCE) -> Waiting[str]:
    queue = Waiting[str](patience)
    for one in who:
        queue.add(one, since_s)
    return queue


def served(queue: Waiting[str], now_s: float) -> str:
    return "".join(iter(lambda: queue.next(now_s) or "", ""))


def told(queue: Waiting[str], now_s: float, *, is_idle: bool = False) -> str:
    return "".join(iter(lambda: queue.next_in_vain(now_s, is_idle=is_idle) or "", ""))


def test_nobody_is_next_of_nobody() -> None:
    queue = Waiting[str](PATIENCE)

    assert (queue.next(0), queue.next_in_vain(0, is_idle=True), len(queue)) == (None, None, 0)


def test_a_burst_is_served_in_order() -> None:
    queue = a_queue()

    assert served(queue, 1.0) == CROWD
    assert len(queue) == 0


def test_of_a_burst_nobody_is_told() -> None:
    assert told(a_queue(), 1.0, is_idle=True) == ""


def test_of_a_queue_that_stays_the_latest_is_next_as_long_as_anybody_is_fresh() -> None:
    queue = a_queue(since_s=0)
    for at_s, who in ((1.8, "x"), (1.9, "y"), (2.0, "z")):
        queue.add(who, at_s)

    assert served(queue, 2.1) == "zy"
    assert len(queue) == len(CROWD) + 1


def test_who_has_waited_in_vain_is_told_when_nobody_is_held_up_by_it() -> None:
    queue = a_queue()
    queue.add("z", 2.0)

    assert told(queue, 2.1) == ""
    assert told(queue, 2.1, is_idle=True) == CROWD[:-1]  # until there are few


def test_who_has_waited_long_is_told_in_any_case() -> None:
    assert told(a_queue(), 4.9) == ""
    assert told(a_queue(), 5.1) == CROWD[:-2]


def test_few_are_no_queue_however_long_they_wait() -> None:
    queue = a_queue(who="ab")

    assert told(queue, 1000.0, is_idle=True) == ""
    assert served(queue, 1000.0) == "ab"


def test_few_are_told_where_they_are_said_to_be() -> None:
    queue = a_queue(who="ab", patience=Patience(few=2, burst_s=1.0, fresh_s=0.25, longest_s=5.0, few_longest_s=10.0))

    assert told(queue, 9.9) == ""
    assert told(queue, 10.1) == "ab"


@pytest.mark.parametrize("shrink", ["served", "told"])
def test_a_queue_that_was_short_for_a_moment_is_a_burst_again(shrink: str) -> None:
    queue = a_queue()
    while len(queue) > 2:
        queue.next(0.9) if shrink == "served" else queue.next_in_vain(6.0, is_idle=True)
    at_s = 0.9 if shrink == "served" else 6.0
    for who in "xyz":
        queue.add(who, at_s)

    assert not queue.is_standing(at_s + 1.0)
    assert queue.is_standing(at_s + 1.1)
    assert served(queue, at_s + 1.0).endswith("xyz")


def a_crowd_at(pace_s: float, *, count: int, until_s: float) -> Waiting[int]:
    """A closed loop: whoever is served comes again at once."""
    queue, now_s = Waiting[int](PATIENCE), 0.0
    for who in range(count):
        queue.add(who, now_s)
    while now_s < until_s:
        now_s += pace_s
        who_is_next = queue.next(now_s)
        if who_is_next is not None:
            queue.add(who_is_next, now_s)
    return queue


def test_many_of_whom_all_are_served_soon_are_served_in_order_for_ever() -> None:
    queue = a_crowd_at(0.001, count=90, until_s=10)

    assert not queue.is_standing(10)
    assert queue.next_in_vain(10, is_idle=True) is None


def test_more_than_are_served_soon_are_a_queue_that_stays() -> None:
    assert a_crowd_at(0.001, count=110, until_s=10).is_standing(10)


def test_where_nobody_is_served_any_more_many_do_not_stay_few() -> None:
    queue = a_crowd_at(0.001, count=90, until_s=10)

    queue.add(90, 11)

    assert queue.is_standing(11.2)
