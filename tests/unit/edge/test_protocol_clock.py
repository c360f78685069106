import asyncio
from math import inf

import pytest

from app.edge.protocol_clock import ClientClock, Late

SOON_S, LATER_S = 0.02, 0.06
PATIENCE_S = 5


class Heard:
    def __init__(self) -> None:
        self.late: list[Late] = []
        self.clock = ClientClock(asyncio.get_running_loop(), self.late.append)

    async def until(self, count: int) -> list[Late]:
        async with asyncio.timeout(PATIENCE_S):
            while len(self.late) < count:  # noqa: ASYNC110 - a timer is waited for
                await asyncio.sleep(0.002)
        return self.late


async def test_what_does_not_happen_in_time_is_told_once() -> None:
    heard = Heard()

    heard.clock.expect(Late.HEAD, SOON_S)

    assert await heard.until(1) == [Late.HEAD]
    await asyncio.sleep(LATER_S)
    assert heard.late == [Late.HEAD]


async def test_the_last_expectation_counts() -> None:
    heard = Heard()

    heard.clock.expect(Late.IDLE, SOON_S)
    heard.clock.expect(Late.BODY, LATER_S)

    assert await heard.until(1) == [Late.BODY]


async def test_an_earlier_expectation_moves_the_timer() -> None:
    heard = Heard()

    heard.clock.expect(Late.IDLE, 60)
    heard.clock.expect(Late.FAREWELL, SOON_S)

    assert await heard.until(1) == [Late.FAREWELL]


async def test_what_is_read_for_and_what_is_written_are_two_deadlines() -> None:
    heard = Heard()

    heard.clock.expect(Late.BODY, LATER_S)
    heard.clock.expect_room(SOON_S)

    assert await heard.until(2) == [Late.WRITE, Late.BODY]


@pytest.mark.parametrize("forget", ["expect_nothing", "expect_no_room", "end"])
async def test_what_is_expected_no_more_is_not_missed(forget: str) -> None:
    heard = Heard()
    heard.clock.expect(Late.BODY, SOON_S)
    heard.clock.expect_room(SOON_S)

    getattr(heard.clock, forget)()
    await asyncio.sleep(LATER_S)

    left = {"expect_nothing": [Late.WRITE], "expect_no_room": [Late.BODY], "end": []}
    assert heard.late == left[forget]


async def test_a_deadline_may_be_set_anew_from_within_another() -> None:
    heard = Heard()

    def again(what: Late) -> None:
        heard.late.append(what)
        if len(heard.late) < 3:
            clock.expect(Late.BODY, SOON_S)

    clock = ClientClock(asyncio.get_running_loop(), again)
    clock.expect(Late.BODY, SOON_S)

    assert await heard.until(3) == [Late.BODY] * 3


async def test_a_request_that_runs_well_moves_no_timer() -> None:
    """Deadlines that only move later cost assignments; the timer finds out when it comes."""
    made: list[float] = []
    loop = asyncio.get_running_loop()

    class Counted:
        time = staticmethod(loop.time)

        @staticmethod
        def call_at(at: float, *call: object) -> asyncio.TimerHandle:
            made.append(at)
            return loop.call_at(at, *call)  # type: ignore[arg-type] # passed on as it is

    clock = ClientClock(Counted(), lambda what: None)  # type: ignore[arg-type] # what it asks of a loop
    for _ in range(1000):
        clock.expect(Late.IDLE, 30)
        clock.expect_nothing()
    clock.end()

    assert len(made) == 1
    assert made[0] < inf
