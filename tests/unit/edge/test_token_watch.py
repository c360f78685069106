"""A connection goes on as long as its token: told once when it ends, and never after it was stopped."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from app.edge.live_runs import OVER, LiveRuns
from app.edge.run_tokens import RunTokenVerifier
from app.edge.token_watch import EXPIRED, WITHDRAWN, TokenWatch
from app.kernel.clock import SystemClock
from app.kernel.identity import Acting
from app.kernel.ids import RunId
from app.kernel.revocation import Mark, Revocation
from tests.builders import a_principal
from tests.fakes.live_tokens import FakeLiveTokens
from tests.unit.edge.parts import NOW_S, Checked

LEEWAY_S = 10


class Watched:
    """A watch of user 1's token, which holds for so long; times of the clock are the test's, the loop's are real."""

    def __init__(self, left_s: float, *, acting: Acting | None = None) -> None:
        self.checked = Checked()
        self.ends: list[str] = []
        self.is_over = asyncio.Event()
        who = replace(a_principal(user_id="1", expires_at=NOW_S - LEEWAY_S + left_s), acting=acting)
        self.watch = TokenWatch(self.checked.verifier, who, self._on_end)

    def _on_end(self, reason: str) -> None:
        self.ends.append(reason)
        self.is_over.set()

    def withdraw(self, name: str) -> None:
        before = datetime.fromtimestamp(NOW_S, UTC) + timedelta(days=1)
        made = Revocation(
            id=1,
            number=1,
            mark=Mark.SUBJECT,
            name=name,
            before=before,
            expires_at=before,
            created_by="2",
            created_at=before,
            updated_at=before,
        )
        self.checked.verifier.revocations.apply([made])


async def test_it_ends_when_the_token_does() -> None:
    watched = Watched(left_s=0.02)
    watched.watch.begin()
    assert watched.ends == []
    watched.checked.clock.now_s += 1

    await asyncio.wait_for(watched.is_over.wait(), 5)

    assert watched.ends == [EXPIRED]


async def test_a_clock_that_was_set_back_is_waited_for() -> None:
    watched = Watched(left_s=0.02)
    watched.watch.begin()
    watched.checked.clock.now_s -= 100

    await asyncio.sleep(0.05)  # the timer has run out by then, and looked at the clock

    assert watched.ends == []
    watched.watch.stop()


async def test_it_ends_when_the_token_is_withdrawn_once() -> None:
    watched = Watched(left_s=100)
    watched.watch.begin()

    watched.withdraw("2")
    assert watched.ends == []
    watched.withdraw("1")
    watched.withdraw("1")

    assert watched.ends == [WITHDRAWN]


@pytest.mark.parametrize(("left_s", "reason"), [(-1, EXPIRED), (100, WITHDRAWN)])
async def test_what_has_happened_before_it_began_counts(left_s: float, reason: str) -> None:
    watched = Watched(left_s)
    if reason == WITHDRAWN:
        watched.withdraw("1")

    watched.watch.begin()

    assert watched.ends == [reason]


async def test_it_ends_with_the_run_that_opened_it() -> None:
    run = Acting(RunId(UUID(int=1)), 1, ("assistant",))
    source = FakeLiveTokens(epochs={run.run_id: run.epoch})
    watched = Watched(left_s=100, acting=run)
    live = LiveRuns(source, SystemClock())
    watched.checked.verifier.runs = RunTokenVerifier(live)
    watched.watch.begin()
    await live.refresh()
    was_over = list(watched.ends)
    del source.epochs[run.run_id]

    await live.refresh()
    await live.refresh()

    assert (was_over, watched.ends) == ([], [OVER])


async def test_once_stopped_nothing_is_heard_of_the_run() -> None:
    source, run = FakeLiveTokens(), Acting(RunId(UUID(int=1)), 1, ("assistant",))
    watched = Watched(left_s=100, acting=run)
    live = LiveRuns(source, SystemClock())
    watched.checked.verifier.runs = RunTokenVerifier(live)
    watched.watch.begin()
    watched.watch.stop()

    await live.refresh()

    assert watched.ends == []


async def test_once_stopped_nothing_is_heard() -> None:
    watched = Watched(left_s=0.01)
    watched.watch.begin()
    watched.watch.stop()
    watched.watch.stop()
    watched.checked.clock.now_s += 1

    watched.withdraw("1")
    await asyncio.sleep(0.03)  # the timer would have run out by then

    assert watched.ends == []


async def test_a_token_that_holds_for_years_sets_no_timer_for_years() -> None:
    watched = Watched(left_s=2**40)
    watched.watch.begin()

    assert watched.watch._timer is not None
    assert watched.watch._timer.when() - asyncio.get_running_loop().time() <= 24 * 3600
    watched.watch.stop()
