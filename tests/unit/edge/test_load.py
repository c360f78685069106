import asyncio
import time

import pytest

from app.edge.line import LEAST_TAKEN, TAKING_S
from app.edge.load import FEW_REQUESTS, PATIENCE, TICK_S, Load
from tests.unit.edge.busy import Client, Time, World

PATIENCE_S = 10
SERVING_S = 0.0001
CAPACITY_PER_S = 1 / SERVING_S
CLIENTS = 2000


class Comer:
    waits = False

    def be_served(self) -> None: ...
    def be_turned_away(self) -> None: ...


def a_busy_load(clock: Time, requests: int = FEW_REQUESTS) -> Load:
    load = Load(monotonic_s=clock)
    for _ in range(requests):
        load.enter()
    return load


def asked(load: Load, count: int = LEAST_TAKEN) -> list[bool]:
    return [load.has_time() for _ in range(count)]


async def test_with_few_requests_open_there_is_time_for_all() -> None:
    clock = Time()
    load = a_busy_load(clock, FEW_REQUESTS - 1)

    assert all(asked(load, 1000))
    clock.now_s += 100
    assert all(asked(load, 1000))
    assert not load.is_late()


async def test_a_round_has_time_for_a_while() -> None:
    clock = Time()
    load = a_busy_load(clock)

    assert all(asked(load, 1000))
    clock.now_s += TAKING_S - 0.0001
    assert all(asked(load, 1000))
    clock.now_s += 0.0002
    assert not any(asked(load, 1000))


async def test_a_round_has_time_for_some_however_long_they_take() -> None:
    clock, seen = Time(), list[bool]()
    load = a_busy_load(clock)

    for _ in range(LEAST_TAKEN + 2):
        seen.append(load.has_time())
        clock.now_s += TAKING_S

    assert seen == [True] * LEAST_TAKEN + [False, False]


async def test_the_next_round_has_time_again() -> None:
    clock = Time()
    load = a_busy_load(clock)
    asked(load)
    clock.now_s += 1
    assert not any(asked(load))

    await asyncio.sleep(0)

    assert all(asked(load, 1000))


async def test_as_long_as_somebody_waits_nobody_is_before_the_line() -> None:
    load = a_busy_load(Time())
    load.line.wait(Comer())

    assert not load.has_time()
    await asyncio.sleep(0)
    assert load.has_time()


async def test_who_has_no_line_is_turned_away_when_a_round_takes_too_long() -> None:
    clock = Time()
    load = a_busy_load(clock)

    assert not load.is_late()
    clock.now_s += PATIENCE.burst_s - 0.01
    assert not load.is_late()
    clock.now_s += 0.02
    assert load.is_late()
    await asyncio.sleep(0)
    assert not load.is_late()


def test_a_worker_takes_a_bounded_number_at_once() -> None:
    load = Load(max_requests=10)
    for _ in range(10):
        load.enter()
    states = [load.is_full]
    for _ in range(2):
        load.leave()
        states.append(load.is_full)

    assert states == [True, True, False]


def test_the_number_that_is_open_says_whether_it_is_busy() -> None:
    load, states = Load(few_requests=2), list[bool]()

    for step in (load.enter, load.enter, load.enter, load.leave, load.leave):
        step()
        states.append(load.is_busy)

    assert states == [False, True, True, True, False]


async def test_a_loop_that_is_held_up_is_noticed_and_forgotten() -> None:
    load = Load()

    async with asyncio.TaskGroup() as group, asyncio.timeout(PATIENCE_S):
        watching = group.create_task(load.watch())
        while load.lag_s < TICK_S:
            time.sleep(4 * TICK_S)  # noqa: ASYNC251 - what the test is about
            await asyncio.sleep(0)
        while load.lag_s > TICK_S / 2:  # noqa: ASYNC110 - the watch's own doing
            await asyncio.sleep(TICK_S)
        watching.cancel()


def test_what_is_measured_is_told() -> None:
    load = a_busy_load(Time())
    load.lag_s, load.shed_total = 0.5, 7

    told = {family.name: family.samples[0].value for family in load.families()}

    assert told == {
        "portico_requests_open": FEW_REQUESTS,
        "portico_loop_lag_seconds": 0.5,
        "portico_shed_total": 7,
    }


class Worker:
    """Reads a request for a tenth of what serving it takes, and turns one away for a third."""

    def __init__(self, clients: int = CLIENTS) -> None:
        self.clock = Time()
        self.load = Load(monotonic_s=self.clock)
        self.world = World(self.clock, self._arrive, SERVING_S, SERVING_S / 3, SERVING_S / 10, clients)

    def _arrive(self, client: Client) -> None:
        self.load.requests_open = self.world.open
        self.load.is_busy = self.world.open >= FEW_REQUESTS
        if self.load.has_time():
            client.be_served()
        else:
            self.load.line.wait(client)

    async def run(self, seconds: float, offered: float) -> None:
        """Offer so many times what one worker can serve."""
        await self.world.run(seconds, offered * CAPACITY_PER_S)


@pytest.mark.parametrize("offered", [2, 10, 100])
async def test_whatever_is_offered_those_who_are_taken_are_served_in_time(offered: float) -> None:
    worker = Worker()

    await worker.run(3, offered)

    assert worker.world.p99_s(since_s=0.5) < 0.05  # without a line, 2000 clients are served in 0.2 s each
    assert worker.world.per_s(since_s=0.5) > 0.7 * CAPACITY_PER_S


async def test_below_what_it_can_serve_nobody_is_turned_away_nor_late() -> None:
    worker = Worker()

    await worker.run(3, 0.7)

    assert worker.world.refused_at_s == []
    assert worker.world.p99_s() < 0.005


async def test_a_burst_is_served_whole() -> None:
    worker = Worker(clients=800)

    await worker.run(0.001, 1000)
    await worker.run(2, 0.1)

    assert worker.world.refused_at_s == []
    assert worker.world.p99_s() < 0.1


async def test_when_the_flood_is_over_it_is_over() -> None:
    worker = Worker()
    await worker.run(3, 10)
    over_at_s = worker.clock.now_s

    await worker.run(3, 0.5)

    assert max(worker.world.refused_at_s) < over_at_s + 0.5
    assert worker.world.p99_s(since_s=over_at_s + 0.5) < 0.005
