import asyncio
import time
from dataclasses import dataclass, field

import pytest

from app.edge.load import FEW_REQUESTS, LAG_LIMIT_S, TICK_S, Load

LATE_S = 2 * LAG_LIMIT_S
PATIENCE_S = 10


def a_busy_load(**fields: int) -> Load:
    return Load(**{"requests_open": FEW_REQUESTS, **fields})  # type: ignore[arg-type] # a test's own fields


def ticked(load: Load, *lags_s: float) -> float:
    for lag_s in lags_s:
        load.tick(lag_s)
    return load.shed_share


def test_one_long_round_is_no_queue() -> None:
    load = a_busy_load()

    assert ticked(load, 5.0, 5.0, 0.0, 5.0, 0.0) == 0
    assert not load.is_overloaded


def test_late_ticks_in_a_row_are() -> None:
    load = a_busy_load()

    assert ticked(load, LATE_S, LATE_S) == 0
    assert ticked(load, LATE_S) > 0
    assert load.is_overloaded


def test_the_later_the_ticks_the_more_are_turned_away() -> None:
    shares = [ticked(a_busy_load(), *[lag_s] * 3) for lag_s in (0.201, 0.22, 0.25)]

    assert shares == sorted(shares)
    assert shares[0] < shares[-1]


def test_it_goes_on_growing_but_some_are_always_let_in() -> None:
    load = a_busy_load()

    shares = [ticked(load, LATE_S) for _ in range(30)]

    assert shares == sorted(shares)
    assert 0.9 < shares[-1] < 1


def test_when_it_is_over_it_is_over_within_two_seconds() -> None:
    load = a_busy_load()
    ticked(load, *[1.0] * 50)

    ticks = 0
    while load.is_overloaded:
        load.tick(0.0)
        ticks += 1

    assert ticks * TICK_S < 1.5


def test_between_late_and_early_all_stays_as_it_is() -> None:
    load = a_busy_load()
    before = ticked(load, *[LATE_S] * 5)

    assert ticked(load, *[LAG_LIMIT_S * 0.8] * 20) == before


def test_a_moment_without_lag_gives_little_away() -> None:
    load = a_busy_load()
    before = ticked(load, *[LATE_S] * 20)

    assert before - ticked(load, 0.0) < 0.05


def test_with_few_requests_open_it_is_something_else_that_is_slow() -> None:
    load = Load(requests_open=FEW_REQUESTS - 1)
    ticked(load, *[1.0] * 50)

    assert not any(load.sheds() for _ in range(100))


def test_a_worker_takes_a_bounded_number_at_once() -> None:
    load = Load(max_requests=3)
    for _ in range(3):
        load.enter()

    assert load.is_overloaded
    assert all(load.sheds() for _ in range(5))
    assert load.shed_total == 5


def test_a_full_worker_takes_requests_again_when_some_have_left() -> None:
    load = Load(max_requests=10)
    for _ in range(10):
        load.enter()

    states = []
    for _ in range(2):
        load.leave()
        load.tick(0.0)
        states.append((load.is_overloaded, load.sheds()))

    assert states == [(True, True), (False, False)]


async def test_a_loop_that_is_held_up_is_noticed_and_forgotten() -> None:
    load = a_busy_load()

    async with asyncio.TaskGroup() as group, asyncio.timeout(PATIENCE_S):
        watching = group.create_task(load.watch())
        while not load.shed_share:
            time.sleep(LATE_S)  # noqa: ASYNC251 - what the test is about
            await asyncio.sleep(0)
        lag_s = load.lag_s
        while load.shed_share:  # noqa: ASYNC110 - the watch's own doing
            await asyncio.sleep(TICK_S)
        watching.cancel()

    assert lag_s > 0
    assert not load.is_overloaded


def test_what_is_measured_is_told() -> None:
    load = a_busy_load()
    ticked(load, LATE_S, LATE_S, LATE_S)

    told = {family.name: family.samples[0].value for family in load.families()}

    assert told["portico_requests_open"] == FEW_REQUESTS
    assert told["portico_shed_share"] == load.shed_share > 0
    assert told["portico_loop_lag_seconds"] == pytest.approx(LATE_S * (1 - 0.8**3))
    assert told["portico_shed_total"] == 0


@dataclass(slots=True)
class Queue:
    """A server that serves so many requests a second, one after another; a round is what had arrived at its start.

    Clients are as many as they are: who waits for an answer sends nothing meanwhile.
    """

    load: Load
    capacity_per_s: float
    shed_cost: float = 0.1
    """of a request that is served"""
    clients: int = 1500
    waited_s: list[float] = field(default_factory=list)
    now_s: float = 0.0
    _arrived_until_s: float = 0.0

    def run(self, seconds: float, offered_per_s: float) -> None:
        end_s = self.now_s + seconds
        self._arrived_until_s = self.now_s
        tick_due_s = self.now_s + TICK_S
        while self.now_s < end_s:
            self.now_s += max(self._round(offered_per_s), 0.001)
            if self.now_s >= tick_due_s:
                self.load.tick(self.now_s - tick_due_s)
                tick_due_s = self.now_s + TICK_S

    def _round(self, offered_per_s: float) -> float:
        began_s, spent_s = self.now_s, 0.0
        arrived_s = max(self._arrived_until_s, began_s - self.clients / offered_per_s)
        while arrived_s < began_s:
            if self.load.is_overloaded and self.load.sheds():
                spent_s += self.shed_cost / self.capacity_per_s
            else:
                spent_s += 1 / self.capacity_per_s
                self.waited_s.append(began_s + spent_s - arrived_s)
            arrived_s += 1 / offered_per_s
        self._arrived_until_s = arrived_s
        return spent_s


def test_at_ten_times_the_load_those_that_are_taken_are_served_in_time() -> None:
    queue = Queue(a_busy_load(), capacity_per_s=2000)
    queue.load.refusal_s = queue.shed_cost / queue.capacity_per_s

    queue.run(3, 20_000)
    queue.waited_s.clear()
    queue.run(10, 20_000)

    waited_s = sorted(queue.waited_s)
    assert waited_s[len(waited_s) * 99 // 100] < 0.5  # without shedding, 1500 / 2000 s and more
    assert len(waited_s) > 0.4 * 10 * 2000


def test_refusing_takes_half_of_the_time_at_most() -> None:
    queue = Queue(a_busy_load(), capacity_per_s=2000, shed_cost=1)
    queue.load.refusal_s = queue.shed_cost / queue.capacity_per_s

    queue.run(10, 20_000)

    assert len(queue.waited_s) > 0.4 * 10 * 2000


def test_after_the_storm_nobody_is_turned_away() -> None:
    queue = Queue(a_busy_load(), capacity_per_s=2000)
    queue.run(5, 20_000)

    queue.run(1.5, 1000)

    assert not queue.load.is_overloaded
