"""Several processes, each with its own limiter, over one ledger and one clock that a test moves."""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
from structlog.testing import capture_logs

from app.edge.rate_limit import RateLimit, read_limit
from app.edge.rate_limit_booking import BATCH_KEYS, Bookkeeper, ledger_name
from app.edge.rate_limit_counts import RateLimiter
from app.edge.rate_limit_quota import FEW, LEASE_S, SYNC_S
from tests.fakes.quotas import FakeQuotaLedger
from tests.unit.edge.parts import StillClock

STEP_S = 0.01
PATIENCE_S = 10

type Who = Callable[[float], Sequence[int]]
"""Which processes get a request at this time."""


def a_limit(rate_limit: str, burst: int | None = None) -> RateLimit:
    limit = read_limit(rate_limit, burst, name="/x")
    assert limit is not None
    return limit


@dataclass(slots=True)
class Processes:
    count: int
    limit: RateLimit
    clock: StillClock = field(default_factory=StillClock)
    ledger: FakeQuotaLedger = field(init=False)
    keepers: list[Bookkeeper] = field(init=False)
    admitted_at_s: list[float] = field(default_factory=list)
    sent: int = 0

    def __post_init__(self) -> None:
        self.ledger = FakeQuotaLedger(self.clock)
        self.keepers = [
            Bookkeeper(RateLimiter(), self.ledger, self.clock, siblings=self.count) for _ in range(self.count)
        ]

    def send(self, process: int, user_id: str = "ann") -> bool:
        quota = self.keepers[process].limiter.take_of_user(self.limit, user_id, self.clock.now_s)
        self.sent += 1
        if quota.wait_s == 0:
            self.admitted_at_s.append(self.clock.now_s)
        return quota.wait_s == 0

    async def run(self, seconds: float, who: Who) -> None:
        """Send, step by step, and book as often as the loop would."""
        next_s = [self.clock.now_s + SYNC_S * number / self.count for number in range(self.count)]
        for step in range(round(seconds / STEP_S)):
            for process in who(step * STEP_S):
                self.send(process)
            for number, keeper in enumerate(self.keepers):
                limiter = keeper.limiter
                if limiter.is_hurried.is_set() or (limiter.due and self.clock.now_s >= next_s[number]):
                    await keeper.book_once()
                    next_s[number] = self.clock.now_s + SYNC_S
            self.clock.now_s += STEP_S

    @property
    def worst_excess(self) -> float:
        """By how many requests any stretch of time held more than a bucket, its refill and a lease's would allow."""
        rate, burst = self.limit.rate_per_s, self.limit.burst
        worst = least = float("-inf")
        for number, at_s in enumerate(self.admitted_at_s):
            # with start i and end j: (j - i + 1) - rate * (t_j - t_i); the best start so far is kept
            least = max(least, rate * at_s - number)
            worst = max(worst, number + 1 - rate * at_s + least)
        return worst - burst - rate * LEASE_S


def anywhere(count: int, times: int) -> Who:
    chance = random.Random(7)  # the same in every run
    return lambda _: [chance.randrange(count) for _ in range(times)]


def one_after_another(count: int) -> Who:
    return lambda at_s: [int(at_s / 0.5) % count] * 2


def moving_on(count: int) -> Who:
    """Empty the bucket at one process, and only then turn to the others."""
    elsewhere = anywhere(count - 1, 3)
    return lambda at_s: [0, 0] if at_s < 15 else [process + 1 for process in elsewhere(at_s)]


@pytest.mark.parametrize("rate", [("100/minute", None), ("5/minute", None), ("1000/minute", 50), ("600/minute", None)])
@pytest.mark.parametrize("count", [2, 3, 8])
@pytest.mark.parametrize("traffic", ["flood", "turns", "moving on"])
async def test_what_all_let_in_together_is_within_the_bound(
    rate: tuple[str, int | None], count: int, traffic: str
) -> None:
    processes = Processes(count, a_limit(*rate))
    who = {"flood": anywhere(count, 3), "turns": one_after_another(count), "moving on": moving_on(count)}[traffic]
    seconds = 30

    await processes.run(seconds, who)

    limit = processes.limit
    others = (count - 1) / count
    assert processes.worst_excess < max(limit.burst, FEW * count) * others
    # in the long run: the tenth that is forgiven, and what is held as a lease or owed at the end
    expected = limit.burst + limit.rate_per_s * seconds
    assert expected * 0.9 - 2 < len(processes.admitted_at_s) < expected * 1.1 + FEW * count


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("rate", [("100/minute", None), ("5/minute", None), ("60/minute", 2)])
async def test_a_caller_that_keeps_to_one_process_gets_all_of_its_limit(
    count: int, rate: tuple[str, int | None]
) -> None:
    processes = Processes(count, a_limit(*rate))

    await processes.run(20, lambda _: [0])

    limit = processes.limit
    expected = limit.burst + limit.rate_per_s * 20
    assert expected - 2 <= len(processes.admitted_at_s) <= expected + 2


async def test_alone_a_process_is_exact() -> None:
    processes = Processes(1, a_limit("100/minute"))

    await processes.run(30, lambda _: [0, 0])

    assert len(processes.admitted_at_s) == pytest.approx(100 + 50, abs=1)
    assert processes.worst_excess <= 0


async def test_callers_far_below_the_limit_cost_no_query() -> None:
    processes = Processes(4, a_limit("600/minute"))

    await processes.run(30, lambda at_s: [int(at_s) % 4] if at_s % 1 < STEP_S else [])

    assert processes.sent == len(processes.admitted_at_s) > 25
    assert processes.ledger.queries == 0


async def test_what_one_process_let_in_another_that_starts_anew_hears_of() -> None:
    processes = Processes(2, a_limit("100/hour"))
    await processes.run(1, lambda _: [0, 0])
    processes.keepers[1] = Bookkeeper(RateLimiter(), processes.ledger, processes.clock, siblings=2)
    processes.admitted_at_s.clear()

    await processes.run(1, lambda _: [1])

    assert len(processes.admitted_at_s) < 25  # its share of what it must take for a full bucket, until it has heard


class TestWithoutTheLedger:
    async def test_together_the_processes_keep_the_limit(self) -> None:
        processes = Processes(4, a_limit("120/minute"))
        processes.ledger.is_away = True

        with capture_logs():
            await processes.run(30, anywhere(4, 4))

        assert len(processes.admitted_at_s) == pytest.approx(120 + 60, abs=8)

    async def test_it_is_told_once_when_it_is_lost_and_once_when_it_is_found(self) -> None:
        processes = Processes(2, a_limit("10/minute"))

        with capture_logs() as events:
            for is_away in (True, True, False, False):
                processes.ledger.is_away = is_away
                await processes.run(2, lambda _: [0])

        assert [event["event"] for event in events] == ["quotas.ledger_lost", "quotas.ledger_found"]

    async def test_what_was_let_in_meanwhile_is_booked_when_it_is_back(self) -> None:
        processes = Processes(2, a_limit("100/hour"))
        processes.ledger.is_away = True
        with capture_logs():
            await processes.run(1, lambda _: [0, 1])
            processes.ledger.is_away = False
            await processes.run(1, lambda _: [0, 1])

        assert 100 <= len(processes.admitted_at_s) < 150
        [ahead_s] = (full_s - processes.clock.now_s for full_s in processes.ledger.full_at_s.values())
        assert ahead_s * processes.limit.rate_per_s == pytest.approx(len(processes.admitted_at_s), abs=1)


async def test_many_keys_are_booked_in_few_queries() -> None:
    processes = Processes(2, a_limit("10/hour"))
    users = 3 * BATCH_KEYS
    for user in range(users):
        processes.send(0, f"user {user}")

    await processes.keepers[0].book_once()

    assert processes.ledger.queries == 3
    assert len(processes.ledger.full_at_s) == users


def test_a_buckets_name_tells_nobody_whose_it_is() -> None:
    names = {ledger_name(key) for key in (("/x", "user", "ann"), ("/x", "address", "ann"), ("/xu", "ser", "ann"))}

    assert len(names) == 3
    assert all(len(name) == 16 and b"ann" not in name for name in names)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - a fact of the ledger, which sets no event
            await asyncio.sleep(0.005)


async def test_the_loops_book_by_themselves_and_say_farewell() -> None:
    processes = Processes(1, a_limit("10/hour"))
    keeper, ledger = processes.keepers[0], processes.ledger

    async with asyncio.TaskGroup() as group:
        loops = [group.create_task(loop()) for loop in (keeper.book, keeper.attend)]
        await asyncio.sleep(0)
        queries_before = ledger.queries
        processes.send(0)
        processes.send(0)
        await _until(lambda: bool(ledger.full_at_s and ledger.present))
        for loop in loops:
            loop.cancel()

    assert queries_before == 0
    assert ledger.present == {}


async def test_another_host_is_heard_of() -> None:
    processes = Processes(2, a_limit("10/hour"))
    ours, theirs = processes.keepers
    theirs.siblings = ours.siblings = 1
    ours.limiter.fleet.processes = 1
    await processes.ledger.attend(theirs.process)
    processes.send(0)
    processes.send(0)

    async with asyncio.TaskGroup() as group:
        loop = group.create_task(ours.attend())
        await _until(lambda: ours.limiter.fleet.processes == 2)
        loop.cancel()

    assert list(processes.ledger.present) == [theirs.process]
