"""Whose runs are stopped when tokens are withdrawn, and that none slips through."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

import pytest

from app.edge.revocations import Revocations
from app.infra.durable import withdrawn_runs
from app.infra.durable.ports import Noting, RunNotFound, RunState
from app.infra.durable.withdrawn_runs import ActiveRun, StopWithdrawnRuns
from app.kernel.authority import Authority
from app.kernel.errors import Unavailable
from app.kernel.ids import ChatId, RunId, UserId
from app.kernel.revocation import Mark, Revocation
from app.kernel.values import Json
from tests.unit.edge.parts import NOW_S
from tests.unit.edge.test_revocations import a_revocation

PATIENCE_S = 10
PAGE_ROWS = 2
BEFORE, AFTER = NOW_S - 10, NOW_S + 10


def a_run(number: int, owner: str = "ann", *, asked_at_s: float = BEFORE, token_id: str | None = None) -> ActiveRun:
    authority = Authority(UserId(owner), ("user",), issued_at=asked_at_s, token_id=token_id)
    return ActiveRun(RunId(UUID(int=number)), UserId(owner), datetime.fromtimestamp(AFTER, UTC), authority)


@dataclass
class FakeRuns:
    """Runs that are not over, and the engine that ends them."""

    running: list[ActiveRun] = field(default_factory=list)
    idle: list[ActiveRun] = field(default_factory=list)
    cancelled: list[int] = field(default_factory=list)
    looks: int = 0
    fails: int = 0

    async def read(self, owners: Sequence[str] | None, *, running: bool, after: RunId | None) -> Sequence[ActiveRun]:
        if self.fails:
            self.fails -= 1
            raise Unavailable
        self.looks += running and after is None
        runs = sorted(self.running if running else self.idle, key=lambda run: run.id)
        asked = [run for run in runs if (owners is None or run.owner in owners) and (after is None or run.id > after)]
        return asked[:PAGE_ROWS]

    async def cancel(self, run_id: RunId, *, reason: str = "", noting: Noting | None = None) -> RunState:
        assert noting is None
        assert reason == "token-withdrawn"
        found = [run for run in (*self.running, *self.idle) if run.id == run_id]
        self.running = [run for run in self.running if run.id != run_id]
        self.idle = [run for run in self.idle if run.id != run_id]
        if not found:
            raise RunNotFound
        self.cancelled.append(run_id.int)
        return RunState.INTERRUPTED

    async def dispatch(self, run_id: RunId, *, chat_id: ChatId | None = None) -> None:
        raise AssertionError

    async def dispatch_many(self, runs: Sequence[RunId]) -> None:
        raise AssertionError

    async def signal(self, run_id: RunId, key: str, payload: Json) -> bool:
        raise AssertionError

    async def rerun(
        self,
        run_id: RunId,
        *,
        told: Mapping[str, Json] | None = None,
        dedupe: str | None = None,
        noting: Noting | None = None,
    ) -> RunId:
        raise AssertionError


@dataclass
class Stopping:
    runs: FakeRuns
    known: Revocations = field(default_factory=Revocations)
    stop: StopWithdrawnRuns = field(init=False)

    def __post_init__(self) -> None:
        self.stop = StopWithdrawnRuns(self.runs, self.runs, self.known.refuses)
        self.known.subscribe(self.stop.hear)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self.stop.work())
            yield
            task.cancel()

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not is_so():  # noqa: ASYNC110 - polled, with a deadline
                await asyncio.sleep(0.001)


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(withdrawn_runs, "AGAIN_S", 0.05)
    monkeypatch.setattr(withdrawn_runs, "RETRY_S", 0.01)


async def stopped_by(runs: FakeRuns, *made: Revocation) -> list[int]:
    """Withdraw, wait until it was looked twice, and tell whose runs are stopped."""
    stopping = Stopping(runs)
    async with stopping.working():
        stopping.known.apply(made)
        await stopping.until(lambda: runs.looks >= 2)
    return sorted(runs.cancelled)


async def test_what_runs_and_what_waits_of_a_user_is_stopped_and_of_nobody_else() -> None:
    runs = FakeRuns(running=[a_run(1), a_run(2, "ben"), a_run(3)], idle=[a_run(4), a_run(5, "ben")])

    assert await stopped_by(runs, a_revocation("ann")) == [1, 3, 4]


async def test_what_was_asked_for_afterwards_goes_on() -> None:
    runs = FakeRuns(running=[a_run(1, asked_at_s=BEFORE), a_run(2, asked_at_s=AFTER)])

    assert await stopped_by(runs, a_revocation("ann")) == [1]


async def test_what_was_asked_for_with_a_token_is_stopped_with_it() -> None:
    runs = FakeRuns(running=[a_run(1, token_id="t1"), a_run(2, token_id="t2")], idle=[a_run(3, "ben", token_id="t1")])

    assert await stopped_by(runs, a_revocation("t1", Mark.JWT_ID)) == [1, 3]


@pytest.mark.parametrize(("made_at_s", "is_stopped"), [(BEFORE, True), (AFTER, False)])
async def test_a_run_that_says_nothing_was_asked_for_when_it_was_made(made_at_s: float, *, is_stopped: bool) -> None:
    silent = ActiveRun(RunId(UUID(int=1)), UserId("ann"), datetime.fromtimestamp(made_at_s, UTC))

    assert await stopped_by(FakeRuns(running=[silent]), a_revocation("ann")) == [1] * is_stopped


async def test_every_page_is_read() -> None:
    runs = FakeRuns(running=[a_run(number) for number in range(1, 2 * PAGE_ROWS + 2)])

    assert await stopped_by(runs, a_revocation("ann")) == [1, 2, 3, 4, 5]


async def test_a_run_that_came_a_moment_later_is_found_by_the_second_look() -> None:
    runs = FakeRuns()
    stopping = Stopping(runs)
    async with stopping.working():
        stopping.known.apply([a_revocation("ann")])
        await stopping.until(lambda: runs.looks == 1)
        runs.idle.append(a_run(1))

        await stopping.until(lambda: bool(runs.cancelled))


async def test_while_the_runs_cannot_be_read_it_is_tried_again() -> None:
    runs = FakeRuns(running=[a_run(1)], fails=3)

    assert await stopped_by(runs, a_revocation("ann")) == [1]


async def test_a_run_that_is_over_meanwhile_keeps_nobody_else_from_being_stopped() -> None:
    runs = FakeRuns(running=[a_run(1), a_run(2)])
    read = runs.read

    async def read_then_lose(
        owners: Sequence[str] | None, *, running: bool, after: RunId | None
    ) -> Sequence[ActiveRun]:
        page = await read(owners, running=running, after=after)
        runs.running = [run for run in runs.running if run.id.int != 1]
        return page

    runs.read = read_then_lose  # type: ignore[method-assign] # a run ends while it is looked at

    assert await stopped_by(runs, a_revocation("ann")) == [2]


async def test_at_the_start_everybody_is_looked_at() -> None:
    """Everything may have been restarted between a withdrawal and the look at its runs."""
    stopping = Stopping(FakeRuns(running=[a_run(1), a_run(2, "ben")]))
    known_before = Revocations()
    known_before.apply([a_revocation("ann")])
    stopping.stop.refuses = known_before.refuses
    async with stopping.working():
        stopping.stop.look_at_all()

        await stopping.until(lambda: bool(stopping.runs.cancelled))

    assert stopping.runs.cancelled == [1]


async def test_many_names_at_once_are_one_look() -> None:
    names = [a_revocation(f"user-{number}", number=number) for number in range(1, withdrawn_runs.MAX_OWNERS + 2)]
    runs = FakeRuns(running=[a_run(1, "user-7"), a_run(2, "eve")])

    assert await stopped_by(runs, *names) == [1]
