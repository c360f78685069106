import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from app.edge.line import LEAST_REFUSED, LEAST_TAKEN, MOST_REFUSING_S, TAKING_S, Line
from app.kernel.waiting import Patience
from tests.unit.edge.busy import Time

PATIENCE = Patience(few=0, burst_s=1.0, fresh_s=0.1, longest_s=5.0)
QUICK_S = TAKING_S / 128  # sums of these are exact


@dataclass(slots=True)
class Told:
    """Who was told what, in the order in which it was."""

    time: Time = field(default_factory=Time)
    served: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Comer:
    told: Told
    number: int
    takes_s: float = QUICK_S
    waits: bool = False

    def be_served(self) -> None:
        self.told.time.now_s += self.takes_s
        self.told.served.append(self.number)

    def be_turned_away(self) -> None:
        self.told.time.now_s += self.takes_s
        self.told.refused.append(self.number)


def a_line(told: Told, count: int, *, takes_s: float = QUICK_S, has_room: Callable[[], bool] = lambda: True) -> Line:
    line = Line(PATIENCE, has_room, monotonic_s=told.time)
    for number in range(count):
        line.wait(Comer(told, number, takes_s))
    return line


async def a_round() -> None:
    await asyncio.sleep(0)


async def test_nobody_is_served_before_the_round_is_over() -> None:
    told = Told()
    a_line(told, 3)

    assert told.served == []
    await a_round()

    assert told.served == [0, 1, 2]


async def test_a_round_serves_for_a_while_and_the_next_one_goes_on() -> None:
    told = Told()
    line = a_line(told, 250)

    await a_round()
    after_one = len(told.served)
    while line:
        await a_round()

    assert after_one == 128
    assert told.served == list(range(250))


async def test_some_are_served_however_long_they_take() -> None:
    told = Told()
    a_line(told, 100, takes_s=TAKING_S)

    await a_round()

    assert len(told.served) == LEAST_TAKEN


async def test_without_room_nobody_is_served_until_there_is_some() -> None:
    told, rooms = Told(), [False]
    line = a_line(told, 3, has_room=lambda: rooms[0])
    for _ in range(200):
        await a_round()
    assert (told.served, len(line)) == ([], 3)

    rooms[0] = True
    async with asyncio.timeout(5):
        while line:  # noqa: ASYNC110 - the line's own doing
            await asyncio.sleep(0.001)

    assert told.served == [0, 1, 2]


async def test_there_is_room_for_so_many_as_there_is() -> None:
    told = Told()
    line = a_line(told, 5, has_room=lambda: len(told.served) < 2)

    await a_round()

    assert (told.served, len(line)) == ([0, 1], 3)


async def test_of_those_who_wait_in_vain_some_are_told_in_a_round() -> None:
    told = Told()
    line = a_line(told, 1000, has_room=lambda: False)
    told.time.now_s += PATIENCE.longest_s + 0.1

    await a_round()

    assert len(told.refused) == pytest.approx(MOST_REFUSING_S / QUICK_S, abs=1)
    assert told.refused == sorted(told.refused)
    assert len(line) == 1000 - len(told.refused)


async def test_some_are_told_however_long_it_takes() -> None:
    told = Told()
    a_line(told, 1000, takes_s=MOST_REFUSING_S, has_room=lambda: False)
    told.time.now_s += PATIENCE.longest_s + 0.1

    await a_round()

    assert len(told.refused) == LEAST_REFUSED


async def test_with_room_and_nobody_fresh_the_rest_of_the_round_is_for_telling() -> None:
    told = Told()
    line = a_line(told, 1000)
    told.time.now_s += PATIENCE.burst_s + 0.1
    line.wait(Comer(told, 1000))

    await a_round()

    assert told.served == [1000]
    assert len(told.refused) == pytest.approx(127, abs=1)


async def test_who_has_left_is_passed_over() -> None:
    told = Told()
    line = Line(PATIENCE, monotonic_s=told.time)
    comers = [Comer(told, number) for number in range(4)]
    for comer in comers:
        line.wait(comer)
    comers[1].waits = comers[3].waits = False

    await a_round()

    assert told.served == [0, 2]
    assert not any(comer.waits for comer in comers)


async def test_it_says_when_it_begins_to_work() -> None:
    told, heard = Told(), list[float]()
    line = Line(PATIENCE, on_round=heard.append, monotonic_s=told.time)
    told.time.now_s = 7.0
    line.wait(Comer(told, 0))

    await a_round()
    await a_round()

    assert heard == [7.0]
