"""What is known of runs: how old an answer may be, how often it is read, and what ends with a run."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from structlog.testing import capture_logs

from app.edge import live_runs
from app.edge.live_runs import FRESH_S, OVER, UNKNOWN, LiveRuns
from app.infra.durable.key_ring import public_key_of
from app.infra.observability.health import NotWell
from app.kernel.clock import SystemClock
from app.kernel.identity import Acting
from app.kernel.ids import RunId
from app.kernel.run_tokens import PublicKey
from tests.fakes.live_tokens import FakeLiveTokens
from tests.unit.edge.parts import StillClock

RUN = RunId(UUID(int=1))
ACTING = Acting(RUN, 1, ("assistant",))
PATIENCE_S = 10


def those_of(source: FakeLiveTokens) -> tuple[LiveRuns, StillClock]:
    clock = StillClock()
    return LiveRuns(source, clock), clock


async def test_nothing_is_known_before_it_was_read() -> None:
    live, _ = those_of(FakeLiveTokens(epochs={RUN: 1}))

    assert (live.is_fresh, live.lives(ACTING)) == (False, False)


async def test_a_reading_is_as_old_as_its_beginning() -> None:
    source = FakeLiveTokens(epochs={RUN: 1})
    live, clock = those_of(source)

    def pass_time() -> None:
        clock.now_s += FRESH_S + 0.01

    source.on_read = pass_time
    await live.refresh()

    assert (live.lives(ACTING), live.is_fresh) == (True, False)


async def test_who_asks_during_a_reading_is_answered_by_another_and_all_of_them_by_one() -> None:
    """A run may have begun after the first reading saw what there is, and before it came back."""
    source = FakeLiveTokens(gate=asyncio.Event())
    live = LiveRuns(source, SystemClock())
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        group.create_task(live.refresh())
        while source.asked < 1:  # noqa: ASYNC110 - polled, with a deadline
            await asyncio.sleep(0)
        source.epochs[RUN] = 1
        later = [group.create_task(live.refresh()) for _ in range(50)]
        await asyncio.sleep(0)
        assert source.gate is not None
        source.gate.set()

        await asyncio.gather(*later)

    assert source.asked == 2
    assert live.lives(ACTING)


async def test_readings_keep_a_distance_however_many_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_runs, "PAUSE_S", 3600)
    source = FakeLiveTokens()
    live = LiveRuns(source, SystemClock())
    async with asyncio.timeout(PATIENCE_S):
        for _ in range(live_runs.AT_ONCE):
            await live.refresh()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await live.refresh()

    assert source.asked == live_runs.AT_ONCE


async def test_who_gives_up_waiting_leaves_the_reading_to_the_others() -> None:
    source = FakeLiveTokens(epochs={RUN: 1}, gate=asyncio.Event())
    live = LiveRuns(source, SystemClock())
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        impatient, patient = (group.create_task(live.refresh()) for _ in range(2))
        while source.asked < 1:  # noqa: ASYNC110 - polled, with a deadline
            await asyncio.sleep(0)
        impatient.cancel()
        assert source.gate is not None
        source.gate.set()
        await patient

    assert live.lives(ACTING)


async def test_what_cannot_be_read_is_said_once_and_what_was_known_grows_old() -> None:
    source = FakeLiveTokens(epochs={RUN: 1})
    live, clock = those_of(source)
    await live.refresh()
    source.is_away = True
    with capture_logs() as lines:
        for _ in range(3):
            clock.now_s += 1
            await live.refresh()
        lost = (live.is_lost, live.is_fresh)
        source.is_away = False
        clock.now_s += 1
        await live.refresh()

    assert lost == (True, False)
    assert (live.is_lost, live.is_fresh) == (False, True)
    assert [line["event"] for line in lines] == ["runs.unknown", "runs.known_again"]


async def test_health_tells_what_was_read_and_that_nothing_could_be() -> None:
    source = FakeLiveTokens(epochs={RUN: 1})
    live, clock = those_of(source)
    await live.refresh()
    well = await live.health()
    source.is_away = True
    clock.now_s += 1
    await live.refresh()

    assert well == "0 keys and 1 runs when last asked for"
    with pytest.raises(NotWell):
        await live.health()


async def test_the_published_keys_that_can_be_used_are_those_to_check_with() -> None:
    key, small = public_key_of(generate_private_key(65537, 2048)), PublicKey("small", "AQAB", "AQAB")
    source = FakeLiveTokens(keys={key.id: key, "small": small})
    live, clock = those_of(source)
    await live.refresh()
    both = (live.keys, live.key(key.id), live.key("small"))
    del source.keys[key.id]
    clock.now_s += 1
    await live.refresh()

    assert (both[0], both[2]) == (frozenset({key, small}), None)
    assert both[1] is not None
    assert (live.keys, live.key(key.id)) == (frozenset({small}), None)


# ---- what ends with a run


@dataclass
class Attended:
    """A watch of one run, by the real clock."""

    source: FakeLiveTokens
    live: LiveRuns
    told: list[str] = field(default_factory=list)

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not is_so():  # noqa: ASYNC110 - polled, with a deadline
                await asyncio.sleep(0.001)

    async def until_told(self) -> list[str]:
        await self.until(lambda: bool(self.told))
        return self.told


@pytest.fixture
async def attended(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Attended]:
    """Read again and again, with next to no distance."""
    monkeypatch.setattr(live_runs, "ATTEND_S", 0.01)
    monkeypatch.setattr(live_runs, "PAUSE_S", 0.001)
    source = FakeLiveTokens(epochs={RUN: 1})
    attended = Attended(source, LiveRuns(source, SystemClock()))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(attended.live.attend())
        yield attended
        task.cancel()


@pytest.mark.parametrize("end", ["over", "taken over"])
async def test_what_a_run_holds_open_ends_with_it(attended: Attended, end: str) -> None:
    attended.live.watch(ACTING, attended.told.append)
    await attended.until(lambda: attended.source.asked > 2)
    was_told = list(attended.told)

    attended.source.epochs = {} if end == "over" else {RUN: 2}

    assert was_told == []
    assert await attended.until_told() == [OVER]


async def test_it_ends_when_nobody_can_tell_for_a_while(attended: Attended, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_runs, "LOST_S", 0.1)
    attended.live.watch(ACTING, attended.told.append)
    await attended.until(lambda: attended.source.asked > 2)

    attended.source.is_away = True

    assert await attended.until_told() == [UNKNOWN]


async def test_once_nobody_watches_nothing_is_read_until_somebody_does(attended: Attended) -> None:
    leave = attended.live.watch(ACTING, attended.told.append)
    await attended.until(lambda: attended.source.asked > 2)
    leave()
    leave()
    await attended.until(lambda: not attended.live._watched.is_set())
    asked, attended.source.epochs = attended.source.asked, {}

    await asyncio.sleep(0.05)  # several readings would have been made by then

    assert (attended.source.asked, attended.told) == (asked, [])
    attended.live.watch(ACTING, attended.told.append)
    assert await attended.until_told() == [OVER]
