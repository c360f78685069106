import asyncio
from dataclasses import dataclass, field

import pytest

from app.edge.turnstile import PATIENCE, REFUSED_A_ROUND, Turnstile
from tests.unit.edge.busy import Time, World

SERVING_S = 0.002
STEPS = 8
CAPACITY_PER_S = 1 / SERVING_S


@dataclass(slots=True)
class Told:
    served: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Comer:
    told: Told
    number: int
    waits: bool = False

    def be_served(self) -> None:
        self.told.served.append(self.number)

    def be_turned_away(self) -> None:
        self.told.refused.append(self.number)


@dataclass(slots=True)
class Reader:
    """Knows only when it is served that the request it reads goes through the turnstile."""

    turnstile: Turnstile
    comer: Comer
    waits: bool = False

    def be_served(self) -> None:
        self.turnstile.enter(self.comer)

    def be_turned_away(self) -> None:
        self.comer.be_turned_away()


def comers(turnstile: Turnstile, told: Told, count: int) -> list[Comer]:
    made = [Comer(told, number) for number in range(count)]
    for comer in made:
        turnstile.enter(comer)
    return made


async def test_the_first_of_a_round_is_served_at_once_and_the_others_one_a_round() -> None:
    turnstile, told, seen = Turnstile(Time()), Told(), list[int]()
    comers(turnstile, told, 3)

    for _ in range(4):
        seen.append(len(told.served))
        await asyncio.sleep(0)

    assert seen == [1, 2, 3, 3]
    assert told.served == [0, 1, 2]
    assert turnstile.has_room()


async def test_who_is_read_in_its_turn_is_served_in_it() -> None:
    turnstile, told = Turnstile(Time()), Told()
    comers(turnstile, told, 1)
    assert not turnstile.has_room()
    for number in (1, 2):
        turnstile.wait(Reader(turnstile, Comer(told, number)))

    await asyncio.sleep(0)
    assert told.served == [0, 1]
    assert not turnstile.has_room()
    await asyncio.sleep(0)

    assert told.served == [0, 1, 2]


async def test_who_has_left_is_passed_over() -> None:
    turnstile, told = Turnstile(Time()), Told()
    made = comers(turnstile, told, 4)
    made[1].waits = made[2].waits = False

    await asyncio.sleep(0)

    assert told.served == [0, 3]


async def test_who_waits_in_vain_is_turned_away_some_in_each_round() -> None:
    time, told = Time(), Told()
    turnstile = Turnstile(time)
    comers(turnstile, told, 100)
    time.now_s += PATIENCE.longest_s + 0.1

    await asyncio.sleep(0)

    assert told.served == [0]
    assert len(told.refused) == 2 * REFUSED_A_ROUND  # nobody is fresh: there is nothing else to do in this round
    assert told.refused == sorted(told.refused)
    for _ in range(150):
        await asyncio.sleep(0)
    assert len(told.refused) == 99 - PATIENCE.few
    assert len(told.served) == 1 + PATIENCE.few


async def test_few_are_served_however_long_they_waited() -> None:
    time, told = Time(), Told()
    turnstile = Turnstile(time)
    comers(turnstile, told, 1 + PATIENCE.few)
    time.now_s += 1000

    for _ in range(PATIENCE.few):
        await asyncio.sleep(0)

    assert told.served == list(range(1 + PATIENCE.few))


class Worker:
    """Its endpoints answer in eight steps; turning one away takes a twentieth."""

    def __init__(self) -> None:
        self.clock = Time()
        self.turnstile = Turnstile(self.clock)
        self.world = World(
            self.clock, self.turnstile.enter, SERVING_S, SERVING_S / 20, SERVING_S / 40, clients=1000, steps=STEPS
        )

    async def run(self, seconds: float, offered: float) -> None:
        """Offer so many times what one worker can serve."""
        await self.world.run(seconds, offered * CAPACITY_PER_S)


@pytest.mark.parametrize("offered", [2, 10, 100])
async def test_whatever_is_offered_those_who_are_taken_are_served_in_time(offered: float) -> None:
    worker = Worker()

    await worker.run(6, offered)

    assert worker.world.p99_s(since_s=1) < 0.06  # without a turnstile, 1000 clients are served in 2 s each
    assert worker.world.per_s(since_s=1) > 0.7 * CAPACITY_PER_S


async def test_below_what_it_can_serve_nobody_is_turned_away() -> None:
    worker = Worker()

    await worker.run(6, 0.7)

    assert worker.world.refused_at_s == []
    assert worker.world.p99_s() < 0.03


async def test_when_the_flood_is_over_it_is_over() -> None:
    worker = Worker()
    await worker.run(4, 10)
    over_at_s = worker.clock.now_s

    await worker.run(4, 0.5)

    assert max(worker.world.refused_at_s) < over_at_s + 0.5
    assert worker.world.p99_s(since_s=over_at_s + 0.5) < 0.03
