"""The promises of `turns.Journal`: whoever remembers a turn's steps keeps them."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from app.agents.turns import InDoubt, Journal, TurnEvent
from app.features.runs.domain.repetition import Telling
from app.features.runs.use_cases.turn_journal import TurnJournal
from app.infra.durable.ports import NewRun, RunState
from app.infra.events.batch import EventBatch
from app.kernel.ids import ChatId, UserId, new_run_id
from app.kernel.values import Json
from tests.fakes.durable import FakeRun, FakeRunContext, FakeRuns
from tests.fakes.journal import Died, FakeJournal


class Bodies:
    """Bodies that count, and die or fail as they are told."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    async def work(self, key: str) -> Json:
        self.keys.append(key)
        return {"n": len(self.keys), "text": "ä \U0001f600", "nothing": None}

    async def die(self, key: str) -> Json:
        self.keys.append(key)
        raise Died

    async def fail(self, key: str) -> Json:
        self.keys.append(key)
        raise KeyError("inner")


type Processes = Callable[[], Journal]
"""each call is the next process that works on the turn"""


def in_memory() -> Processes:
    seen = [FakeJournal()]

    def begin() -> Journal:
        journal = seen[-1]
        seen.append(journal.resumed())
        return journal

    return begin


def of_a_run() -> Processes:
    kept = FakeRuns()
    new = NewRun(new_run_id(), "turn", UserId("7"), "exchange", {}, chat_id=ChatId(1))
    run = kept.runs[new.id] = FakeRun(new, datetime.now(UTC), state=RunState.RUNNING)

    def begin() -> Journal:
        run.epoch += 1
        context = FakeRunContext(kept, run, run.job("1"), "1")
        return TurnJournal(context, EventBatch(context.progress), Telling())

    return begin


@pytest.fixture(params=[in_memory, of_a_run], ids=["fake", "run"])
def processes(request: pytest.FixtureRequest) -> Processes:
    made: Processes = request.param()
    return made


class TestJournal:
    async def test_a_finished_step_gives_its_result_to_every_later_process(self, processes: Processes) -> None:
        bodies = Bodies()
        first = await processes().step("a", bodies.work)

        later = [await processes().step("a", bodies.work) for _ in range(2)]

        assert later == [first, first]
        assert len(bodies.keys) == 1

    async def test_the_same_name_again_is_the_next_step(self, processes: Processes) -> None:
        bodies, journal = Bodies(), processes()
        results = [await journal.step("a", bodies.work), await journal.step("a", bodies.work)]

        again = processes()
        kept = [await again.step("a", bodies.work), await again.step("a", bodies.work)]

        assert kept == results
        assert len(set(bodies.keys)) == 2

    async def test_a_step_that_was_interrupted_is_done_again_under_the_same_key(self, processes: Processes) -> None:
        bodies = Bodies()
        with pytest.raises(Died):
            await processes().step("a", bodies.die)

        await processes().step("a", bodies.work)

        assert len(bodies.keys) == 2
        assert len(set(bodies.keys)) == 1

    async def test_a_step_that_failed_says_so_and_is_not_kept(self, processes: Processes) -> None:
        bodies = Bodies()
        with pytest.raises(KeyError):
            await processes().step("a", bodies.fail)

        assert await processes().step("a", bodies.work)

    async def test_what_must_not_be_done_twice_is_in_doubt_once_it_was_begun(self, processes: Processes) -> None:
        bodies = Bodies()
        with pytest.raises(Died):
            await processes().step("a", bodies.die, is_idempotent=False)

        for _ in range(2):
            with pytest.raises(InDoubt):
                await processes().step("a", bodies.work, is_idempotent=False)

        assert len(bodies.keys) == 1

    async def test_what_must_not_be_done_twice_is_kept_like_any_other(self, processes: Processes) -> None:
        bodies = Bodies()
        first = await processes().step("a", bodies.work, is_idempotent=False)

        assert await processes().step("a", bodies.work, is_idempotent=False) == first

    async def test_a_later_process_knows_that_it_is_one(self, processes: Processes) -> None:
        assert not processes().is_resumed
        assert processes().is_resumed

    async def test_anything_a_turn_says_may_be_told(self, processes: Processes) -> None:
        journal = processes()

        await journal.tell(TurnEvent("text_delta", {"request": 1, "text": "ä \U0001f600 \u2028 \ufffd"}))
        await journal.tell(TurnEvent("tool_call_complete", {"tool_call_id": "c", "result": [1, None, {"a": 1.5}]}))
