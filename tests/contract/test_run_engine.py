"""What the engine of runs promises, asked of the fake and of PostgreSQL alike."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from app.infra.durable.ports import (
    Fenced,
    NewRun,
    RunContext,
    RunError,
    RunFailed,
    RunNotFound,
    RunNotOver,
    RunState,
    StepInDoubt,
    StepKey,
)
from app.infra.events.ports import EventType, NewEvent
from app.kernel.errors import NotFound
from app.kernel.ids import ChatId, RunId, UserId, new_run_id
from app.kernel.values import Json
from tests.contract.run_rig import PATIENCE_S, Rig, fake_rig, postgres_rig

NOBODY = RunId(UUID(int=7 << 76))

type Rigs = Callable[[], AbstractAsyncContextManager[Rig]]


@pytest.fixture(params=["fake", "postgres"])
def rigs(request: pytest.FixtureRequest) -> Rigs:
    if request.param == "postgres":
        database = request.getfixturevalue("database")
        return lambda: postgres_rig(database)

    @asynccontextmanager
    async def fake() -> AsyncIterator[Rig]:
        yield fake_rig()

    return fake


def delta(text: str) -> NewEvent:
    return NewEvent(EventType.TEXT_DELTA, {"text": text})


def returning(result: Json) -> Callable[[StepKey], object]:
    async def body(key: StepKey) -> Json:
        return result

    return body


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not is_so():  # noqa: ASYNC110 - polled, with a deadline
            await asyncio.sleep(0.005)


def soon(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


async def test_a_run_is_queued_started_and_completed_with_what_belongs_to_its_end(rigs: Rigs) -> None:
    async def act(context: RunContext) -> Json:
        await context.progress([delta("hel"), delta("lo")])
        return {"said": "hello", "input": context.job.input["n"]}

    async with rigs() as rig, rig.working():
        rig.handler.act, rig.handler.says = act, [NewEvent(EventType.USAGE, {"n": 1})]

        run_id = await rig.put(input={"n": 5})

        events = await rig.events(run_id)
    assert [(event.seq, event.type.value) for event in events] == [
        (1, "run_queued"),
        (2, "run_started"),
        (3, "text_delta"),
        (4, "text_delta"),
        (5, "usage"),
        (6, "run_completed"),
    ]
    assert [(ended.job.id, ended.state, ended.result) for ended in rig.handler.settled] == [
        (run_id, RunState.COMPLETED, {"said": "hello", "input": 5})
    ]


async def test_a_run_whose_transaction_failed_was_never_there(rigs: Rigs) -> None:
    async with rigs() as rig:
        run = NewRun(new_run_id(), "test", UserId("ann"), "exchange", {})

        async def put_and_fail() -> None:
            async with rig.begin() as tx:
                await rig.queue.put(tx, run)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await put_and_fail()

        assert list(await rig.log.read(run.id)) == []
        with pytest.raises(RunNotFound):
            await rig.engine.cancel(run.id)


async def test_a_second_run_of_the_same_word_is_not_made(rigs: Rigs) -> None:
    async with rigs() as rig:
        first = await rig.put(dedupe="hook 7")
        second = await rig.put(dedupe="hook 7")
        other = await rig.put(dedupe="hook 8")

        assert second == first
        assert other != first


async def test_a_place_says_whether_anybody_stands_before_it(rigs: Rigs) -> None:
    async with rigs() as rig:
        async with rig.begin() as tx:
            alone = await rig.queue.take_place(tx, lane="a", chat_id=ChatId(1))
            made = await rig.queue.put(
                tx, NewRun(alone.run_id, "test", UserId("ann"), "exchange", {}, lane="a", chat_id=ChatId(1))
            )
        async with rig.begin() as tx:
            behind = await rig.queue.take_place(tx, lane="a", chat_id=ChatId(1))
            elsewhere = await rig.queue.take_place(tx, lane="b", chat_id=ChatId(1))
        async with rig.working():
            await rig.ended(made)
        async with rig.begin() as tx:
            after = await rig.queue.take_place(tx, lane="a", chat_id=ChatId(1))

    assert made == alone.run_id < behind.run_id
    assert (alone.is_free, behind.is_free, elsewhere.is_free, after.is_free) == (True, False, True, True)


async def test_a_lane_is_first_in_first_out_one_at_a_time(rigs: Rigs) -> None:
    order: list[RunId] = []
    running = 0

    async def act(context: RunContext) -> Json:
        nonlocal running
        running += 1
        assert running == 1
        order.append(context.job.id)
        await asyncio.sleep(0.01)
        running -= 1
        return None

    async with rigs() as rig, rig.working():
        rig.handler.act = act
        runs = [await rig.put(lane="a") for _ in range(6)]
        await rig.ended(runs[-1])

    assert order == runs


async def test_lanes_run_beside_each_other(rigs: Rigs) -> None:
    both = asyncio.Barrier(2)

    async def act(context: RunContext) -> Json:
        async with asyncio.timeout(PATIENCE_S):
            await both.wait()
        return None

    async with rigs() as rig, rig.working():
        rig.handler.act = act
        runs = [await rig.put(lane="a"), await rig.put(lane="b")]
        words = [(await rig.ended(run)).type for run in runs]

    assert words == [EventType.RUN_COMPLETED] * 2


async def test_ids_sort_as_their_lane_does_whatever_was_proposed(rigs: Rigs) -> None:
    early = new_run_id()
    async with rigs() as rig:
        first = await rig.put(lane="a")
        second = await rig.put(lane="a", id=early)
        third = await rig.put(lane="a")

    assert first < second < third
    assert early < first


async def test_ids_sort_within_a_chat_across_lanes(rigs: Rigs) -> None:
    early = new_run_id()
    async with rigs() as rig:
        first = await rig.put(lane="a", chat_id=3)
        second = await rig.put(lane="b", chat_id=3, id=early)

    assert early < first < second


async def test_many_runs_are_put_at_once_as_if_one_by_one(rigs: Rigs) -> None:
    begun: list[Json] = []

    async def act(context: RunContext) -> Json:
        begun.append(context.job.input["n"])
        return None

    def a_run(n: int, lane: str | None, dedupe: str | None = None) -> NewRun:
        return NewRun(new_run_id(), "test", UserId("ann"), "exchange", {"n": n}, lane=lane, dedupe=dedupe)

    async with rigs() as rig:
        rig.handler.act = act
        waiting = await rig.put(lane="a", input={"n": 0}, dedupe="known")
        async with rig.begin() as tx:
            assert await rig.queue.put_many(tx, []) == []
            runs = [a_run(1, "a"), a_run(2, "b"), a_run(3, "a", "known"), a_run(4, "a"), a_run(5, None)]
            made = await rig.queue.put_many(tx, runs)
        async with rig.working():
            for run_id in made:
                await rig.ended(run_id)

    assert made[2] == waiting
    assert waiting < made[0] < made[3]
    assert sorted(begun, key=str) == [0, 1, 2, 4, 5]
    assert [n for n in begun if n in (0, 1, 4)] == [0, 1, 4]


async def test_the_lower_priority_number_goes_first_across_lanes(rigs: Rigs) -> None:
    order: list[str | None] = []

    async def act(context: RunContext) -> Json:
        order.append(context.job.lane)
        return None

    async with rigs() as rig:
        rig.handler.act = act
        last = await rig.put(lane="later", priority=5)
        await rig.put(lane="first", priority=-5)
        await rig.put(lane="second")
        async with rig.working(slots=1):
            await rig.ended(last)

    assert order == ["first", "second", "later"]


async def test_a_run_is_not_begun_before_its_time(rigs: Rigs) -> None:
    begun: list[datetime] = []

    async def act(context: RunContext) -> Json:
        begun.append(datetime.now(UTC))
        return None

    async with rigs() as rig, rig.working(poll_s=0.05):
        rig.handler.act = act
        at = soon(0.4)
        await rig.ended(await rig.put(scheduled_for=at))

    assert begun[0] >= at - timedelta(milliseconds=50)


async def test_a_finished_step_is_not_done_again(rigs: Rigs) -> None:
    done: list[str] = []
    attempts: list[int] = []

    async def act(context: RunContext) -> Json:
        attempts.append(context.job.attempt)

        async def body(key: StepKey) -> Json:
            done.append(str(key))
            return {"n": len(done)}

        first = await context.step("charge", body)
        second = await context.step("charge", body)
        if context.job.attempt == 1:
            raise ZeroDivisionError
        return [first, second]

    async with rigs() as rig, rig.working():
        rig.handler.act = act
        await rig.ended(await rig.put())

    assert attempts == [1, 2]
    assert len(done) == len(set(done)) == 2
    assert rig.handler.settled[0].result == [{"n": 1}, {"n": 2}]


async def test_what_was_only_read_is_kept_with_the_step_behind_it(rigs: Rigs) -> None:
    read: list[int] = []
    seen: list[list[Json]] = []

    async def act(context: RunContext) -> Json:
        async def look(key: StepKey) -> Json:
            read.append(context.job.attempt)
            return len(read)

        looked = [await context.step("look", look, only_reads=True) for _ in range(2)]
        acted = await context.step("act", returning("done"))  # type: ignore[arg-type]
        seen.append([*looked, acted, await context.step("look", look, only_reads=True)])
        if context.job.attempt == 1:
            raise ZeroDivisionError
        return await context.wait("go")

    async with rigs() as rig, rig.working():
        rig.handler.act = act
        run_id = await rig.put()
        await rig.says(run_id, "run_waiting")
        await rig.engine.signal(run_id, "go", "gone")
        await rig.ended(run_id)

    first, second, third = seen
    assert first == [1, 2, "done", 3]
    assert second[:3] == third[:3] == first[:3]
    assert second == third, "who waits has written down everything"
    assert read.count(1) == 3


async def test_a_steps_result_is_the_same_when_it_is_made_and_when_it_is_read(rigs: Rigs) -> None:
    seen: list[Json] = []

    async def act(context: RunContext) -> Json:
        seen.append(await context.step("odd", returning((1, {"text": "\0 é \ud800"}))))  # type: ignore[arg-type]
        if context.job.attempt == 1:
            raise ZeroDivisionError
        return seen[0]

    async with rigs() as rig, rig.working():
        rig.handler.act = act
        await rig.ended(await rig.put())

    assert seen == [[1, {"text": "\0 é \ud800"}]] * 2


async def test_what_fails_is_tried_again_and_then_given_up(rigs: Rigs) -> None:
    class Gone(NotFound):
        type = "gone"

    async def act(context: RunContext) -> Json:
        raise Gone("It is not there.") if context.job.attempt == 3 else ZeroDivisionError

    async with rigs() as rig, rig.working():
        rig.handler.act = act
        events = await rig.events(await rig.put())

    assert [event.type.value for event in events] == [
        "run_queued",
        "run_started",
        "run_progress",
        "run_progress",
        "run_failed",
    ]
    assert events[2].data == {"status": "retrying", "attempt": 2, "of": 3}
    assert events[-1].data == {"error": {"type": "gone", "detail": "It is not there."}}
    assert [(ended.state, ended.error) for ended in rig.handler.settled] == [
        (RunState.FAILED, RunError("gone", "It is not there."))
    ]


async def test_what_is_unexpected_is_told_in_our_words(rigs: Rigs) -> None:
    async def act(context: RunContext) -> Json:
        raise ZeroDivisionError("secret")

    async with rigs() as rig, rig.working():
        rig.handler.act = act
        last = await rig.ended(await rig.put(max_attempts=1))

    assert last.data == {"error": {"type": "internal", "detail": "Something went wrong on our side."}}


async def test_a_run_that_says_it_failed_is_not_tried_again(rigs: Rigs) -> None:
    attempts: list[int] = []

    async def act(context: RunContext) -> Json:
        attempts.append(context.job.attempt)
        raise RunFailed(RunError("no-such-agent", "There is none."))

    async with rigs() as rig, rig.working():
        rig.handler.act = act
        last = await rig.ended(await rig.put())

    assert attempts == [1]
    assert last.data == {"error": {"type": "no-such-agent", "detail": "There is none."}}


async def test_a_result_that_is_no_json_fails_the_run(rigs: Rigs) -> None:
    async with rigs() as rig, rig.working():
        rig.handler.act = lambda context: asyncio.sleep(0, float("nan"))
        last = await rig.ended(await rig.put())

    assert last.type == EventType.RUN_FAILED
    assert last.data["error"] == {"type": "run-result-unfit", "detail": "The run's result cannot be kept."}


async def test_an_event_that_is_too_large_is_refused_and_leaves_no_gap(rigs: Rigs) -> None:
    refused: list[str] = []

    async def act(context: RunContext) -> Json:
        try:
            await context.progress([delta("x" * 70_000)])
        except ValueError as error:
            refused.append(type(error).__name__)
        return await context.progress([delta("y")])

    async with rigs() as rig, rig.working():
        rig.handler.act = act
        events = await rig.events(await rig.put())

    assert refused == ["JsonTooLarge"]
    assert [event.seq for event in events] == [1, 2, 3, 4]
    assert rig.handler.settled[0].result == 3


async def test_a_step_that_must_not_be_done_twice_is_done_again_if_it_reported_its_failure(rigs: Rigs) -> None:
    tries = 0

    async def act(context: RunContext) -> Json:
        async def body(key: StepKey) -> Json:
            nonlocal tries
            tries += 1
            if tries == 1:
                raise ConnectionRefusedError
            return "paid"

        return await context.step("pay", body, is_idempotent=False)

    async with rigs() as rig, rig.working():
        rig.handler.act = act
        await rig.ended(await rig.put())

    assert rig.handler.settled[0].result == "paid"


async def test_a_step_that_was_interrupted_and_must_not_be_done_twice_is_in_doubt(rigs: Rigs) -> None:
    begun = asyncio.Event()
    tries: list[str] = []

    async def act(context: RunContext) -> Json:
        async def body(key: StepKey) -> Json:
            tries.append(key.name)
            begun.set()
            await asyncio.sleep(PATIENCE_S)
            return None

        try:
            return await context.step("pay", body, is_idempotent=False)
        except StepInDoubt as doubt:
            return str(doubt)

    async with rigs() as rig:
        rig.handler.act = act
        run_id = await rig.put()
        async with rig.working():
            await asyncio.wait_for(begun.wait(), PATIENCE_S)
        async with rig.working():
            await rig.ended(run_id)

    assert len(tries) == 1
    assert rig.handler.settled[0].result == f"it is not known whether {tries[0]} was done"


async def test_a_waiting_run_leaves_its_slot_and_goes_on_with_the_first_answer(rigs: Rigs) -> None:
    async def act(context: RunContext) -> Json:
        return await context.wait("approval") if context.job.lane == "waits" else "done"

    async with rigs() as rig, rig.working(slots=1):
        rig.handler.act = act
        waits = await rig.put(lane="waits")
        waiting = await rig.says(waits, "run_waiting")
        await rig.ended(await rig.put(lane="other"))

        first = await rig.engine.signal(waits, "approval", {"yes": True})
        second = await rig.engine.signal(waits, "approval", {"yes": False})
        events = await rig.events(waits)

        assert waiting.data == {"for": "approval", "until": None}
        assert (first, second) == (True, False)
        assert [event.type.value for event in events][-3:] == ["run_waiting", "run_started", "run_completed"]
        assert rig.handler.settled[-1].result == {"yes": True}
        assert await rig.engine.signal(waits, "more", 1) is False
        with pytest.raises(RunNotFound):
            await rig.engine.signal(NOBODY, "approval", 1)


async def test_a_waiting_run_keeps_its_lane(rigs: Rigs) -> None:
    order: list[RunId] = []

    async def act(context: RunContext) -> Json:
        await context.wait("go")
        order.append(context.job.id)
        return None

    async with rigs() as rig, rig.working():
        rig.handler.act = act
        first, second = await rig.put(lane="a"), await rig.put(lane="a")
        await rig.engine.signal(second, "go", 1)
        await rig.says(first, "run_waiting")
        await asyncio.sleep(0.1)
        assert order == []
        await rig.engine.signal(first, "go", 1)
        await rig.ended(second)

    assert order == [first, second]


async def test_an_answer_that_comes_before_the_wait_counts(rigs: Rigs) -> None:
    async with rigs() as rig:
        rig.handler.act = lambda context: context.wait("approval")
        run_id = await rig.put()

        assert await rig.engine.signal(run_id, "approval", "early")

        async with rig.working():
            events = await rig.events(run_id)
    assert "run_waiting" not in [event.type for event in events]
    assert rig.handler.settled[0].result == "early"


async def test_an_answer_counts_with_the_callers_transaction(rigs: Rigs) -> None:
    async with rigs() as rig, rig.working():
        rig.handler.act = lambda context: context.wait("approval")
        run_id = await rig.put()
        await rig.says(run_id, "run_waiting")

        async with rig.begin() as tx:
            assert await rig.queue.signal(tx, run_id, "approval", "ours")
        await rig.engine.dispatch(run_id)

        await rig.ended(run_id)
    assert rig.handler.settled[0].result == "ours"


async def test_a_wait_ends_when_its_time_is_over(rigs: Rigs) -> None:
    async def act(context: RunContext) -> Json:
        # reckoned anew by each attempt, as a handler would
        answer = await context.wait("approval", until=soon(0.3))
        late = await context.wait("approval")
        return [answer, late]

    async with rigs() as rig, rig.working(poll_s=0.05):
        rig.handler.act = act
        run_id = await rig.put()
        events = await rig.events(run_id)

        assert "run_waiting" in [event.type for event in events]
        assert rig.handler.settled[0].result == [None, None]
        assert await rig.engine.signal(run_id, "approval", "late") is False


async def test_a_sleep_is_slept_once(rigs: Rigs) -> None:
    began = datetime.now(UTC)

    async def act(context: RunContext) -> Json:
        await context.sleep("long", began + timedelta(seconds=0.8))
        woke = datetime.now(UTC)
        await context.sleep("short", woke + timedelta(seconds=0.05))
        if context.job.attempt == 1:
            raise ZeroDivisionError
        return (datetime.now(UTC) - began).total_seconds()

    async with rigs() as rig, rig.working(poll_s=0.05):
        rig.handler.act = act
        events = await rig.events(await rig.put())

    assert [event.type for event in events].count(EventType.RUN_WAITING) == 1
    assert rig.handler.settled[0].result >= 0.8  # type: ignore[operator] # a number


@pytest.mark.parametrize("is_waiting", [False, True], ids=["queued", "waiting"])
async def test_what_does_not_run_is_cancelled_at_once(rigs: Rigs, *, is_waiting: bool) -> None:
    async with rigs() as rig:
        rig.handler.act = lambda context: context.wait("never")
        run_id, behind = await rig.put(lane="a"), await rig.put(lane="a")
        if is_waiting:
            async with rig.working():
                await rig.says(run_id, "run_waiting")

        state = await rig.engine.cancel(run_id, reason="changed my mind")

        assert state is RunState.INTERRUPTED
        last = (await rig.log.read(run_id))[-1]
        assert (last.type, last.data) == (EventType.RUN_INTERRUPTED, {"reason": "changed my mind"})
        assert [(ended.job.id, ended.state) for ended in rig.handler.settled] == [(run_id, RunState.INTERRUPTED)]
        assert await rig.engine.cancel(run_id) is RunState.INTERRUPTED
        async with rig.working():
            await rig.says(behind, "run_waiting")
        assert len(rig.handler.settled) == 1


async def test_a_cancelled_run_inside_a_lane_does_not_hold_it_up(rigs: Rigs) -> None:
    order: list[RunId] = []

    async def act(context: RunContext) -> Json:
        order.append(context.job.id)
        return None

    async with rigs() as rig:
        rig.handler.act = act
        first, second, third = [await rig.put(lane="a") for _ in range(3)]
        await rig.engine.cancel(second)
        async with rig.working():
            await rig.ended(third)

    assert order == [first, third]


async def test_what_runs_is_cancelled_in_the_middle_and_keeps_what_it_said(rigs: Rigs) -> None:
    stopped: list[str] = []

    async def act(context: RunContext) -> Json:
        await context.progress([delta("half an")])
        try:
            await asyncio.sleep(PATIENCE_S)
        finally:
            await context.progress([delta(" answer")])
            try:
                await context.step("next", returning(1))  # type: ignore[arg-type]
            except Fenced:
                stopped.append("no step")
        return None

    async with rigs() as rig, rig.working():
        rig.handler.act = act
        run_id, behind = await rig.put(lane="a"), await rig.put(lane="a")
        await rig.says(run_id, "text_delta")

        state = await rig.engine.cancel(run_id, reason="stop")

        events = await rig.events(run_id)
        rig.handler.act = returning(None)  # type: ignore[assignment]
        await rig.says(behind, "run_started")
    assert state is RunState.RUNNING
    assert stopped == ["no step"]
    assert "".join(str(event.data["text"]) for event in events if event.type == "text_delta") == "half an answer"
    assert (events[-1].type, events[-1].data) == (EventType.RUN_INTERRUPTED, {"reason": "stop"})
    assert rig.handler.settled[0].state is RunState.INTERRUPTED


async def test_a_handler_may_give_what_it_has_when_it_is_cancelled(rigs: Rigs) -> None:
    async def act(context: RunContext) -> Json:
        await context.progress([delta("half")])
        try:
            await asyncio.sleep(PATIENCE_S)
        except asyncio.CancelledError:
            return "half"
        return "whole"

    async with rigs() as rig, rig.working():
        rig.handler.act = act
        run_id = await rig.put()
        await rig.says(run_id, "text_delta")
        await rig.engine.cancel(run_id)
        await rig.ended(run_id)

    ended = rig.handler.settled[0]
    assert (ended.state, ended.result) == (RunState.INTERRUPTED, "half")


async def test_a_handler_that_will_not_stop_does_not_keep_its_run(rigs: Rigs) -> None:
    over = asyncio.Event()
    late: list[str] = []

    async def act(context: RunContext) -> Json:
        await context.progress([delta("half")])
        while not over.is_set():
            try:
                await over.wait()
            except asyncio.CancelledError:
                continue
        try:
            await context.progress([delta("too late")])
        except Fenced:
            late.append("refused")
        return "too late"

    async with rigs() as rig, rig.working(cancel_s=0.1):
        rig.handler.act = act
        run_id = await rig.put()
        await rig.says(run_id, "text_delta")
        await rig.engine.cancel(run_id)
        last = await rig.ended(run_id)
        over.set()
        await until(lambda: bool(late))

        assert last.type == EventType.RUN_INTERRUPTED
        assert len(await rig.log.read(run_id)) == last.seq
    assert len(rig.handler.settled) == 1


async def test_what_is_over_stays_as_it_is(rigs: Rigs) -> None:
    async with rigs() as rig, rig.working():
        run_id = await rig.put()
        await rig.ended(run_id)

        assert await rig.engine.cancel(run_id) is RunState.COMPLETED
        with pytest.raises(RunNotFound):
            await rig.engine.cancel(NOBODY)


async def test_a_worker_that_ends_hands_back_what_runs(rigs: Rigs) -> None:
    begun = asyncio.Event()
    attempts: list[int] = []
    done: list[str] = []

    async def act(context: RunContext) -> Json:
        attempts.append(context.job.attempt)

        async def body(key: StepKey) -> Json:
            done.append(key.name)
            return None

        await context.step("first", body)
        if len(attempts) == 1:
            begun.set()
            await asyncio.sleep(PATIENCE_S)
        return "done"

    async with rigs() as rig:
        rig.handler.act = act
        async with rig.working():
            run_id = await rig.put(lane="a")
            await asyncio.wait_for(begun.wait(), PATIENCE_S)
        async with rig.working():
            events = await rig.events(run_id)

    assert attempts == [1, 1]
    assert len(done) == 1
    assert [event.type.value for event in events] == ["run_queued", "run_started", "run_completed"]


async def test_what_is_over_is_begun_again_as_a_new_run(rigs: Rigs) -> None:
    inputs: list[Json] = []

    async def act(context: RunContext) -> Json:
        inputs.append(dict(context.job.input))
        return None

    async with rigs() as rig:
        rig.handler.act = act
        run_id = await rig.put(input={"q": 1, "who": "ann"}, lane="a", chat_id=4, dedupe="once")
        with pytest.raises(RunNotOver):
            await rig.engine.rerun(run_id)
        with pytest.raises(RunNotFound):
            await rig.engine.rerun(NOBODY)
        async with rig.working():
            await rig.ended(run_id)
            again = await rig.engine.rerun(run_id)
            events = await rig.events(again)
            anew = await rig.engine.rerun(run_id, told={"who": "ben"})
            await rig.events(anew)

    assert again > run_id
    assert events[0].chat_id == 4
    assert inputs == [{"q": 1, "who": "ann"}, {"q": 1, "who": "ann"}, {"q": 1, "who": "ben"}]


async def test_what_is_over_is_begun_again_once_for_a_word(rigs: Rigs) -> None:
    async with rigs() as rig:
        run_id = await rig.put(lane="a", dedupe="once")
        async with rig.working():
            await rig.ended(run_id)
        reruns = [await rig.engine.rerun(run_id, dedupe=word) for word in ("mine", "mine", "yours")]

    assert len({run_id, *reruns}) == 3
    assert reruns[0] == reruns[1]


@pytest.mark.parametrize(("step", "word"), [("same", "run_completed"), ("another", "run_failed")])
async def test_a_run_of_an_older_program_is_finished_or_failed_with_the_reason(
    rigs: Rigs, step: str, word: str
) -> None:
    begun = asyncio.Event()
    done: list[str] = []

    async def act(context: RunContext) -> Json:
        async def body(key: StepKey) -> Json:
            done.append(key.name)
            return None

        await context.step("same" if not begun.is_set() else step, body)
        if not begun.is_set():
            begun.set()
            await asyncio.sleep(PATIENCE_S)
        return context.job.code_version

    async with rigs() as rig:
        rig.handler.act = act
        run_id = await rig.put()
        async with rig.working(version="1"):
            await asyncio.wait_for(begun.wait(), PATIENCE_S)
        async with rig.working(version="2"):
            last = await rig.ended(run_id)

    assert last.type == word
    assert len(done) == 1
    if word == "run_failed":
        assert last.data["error"] == {
            "type": "run-code-changed",
            "detail": "The run was begun by version 1, and version 2 cannot go on with it. Run it again.",
        }


async def test_an_end_that_cannot_be_settled_is_tried_again_and_settled_once(rigs: Rigs) -> None:
    async with rigs() as rig, rig.working():
        rig.handler.settle_failures = 2
        last = await rig.ended(await rig.put())

    assert last.type == EventType.RUN_COMPLETED
    assert len(rig.handler.settled) == 1
