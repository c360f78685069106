"""What the worker promises over PostgreSQL alone: without hints, in a deep backlog, at rest, when answers race."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from sqlalchemy import Engine, event, text
from structlog.testing import capture_logs

from app.infra.db.engine import Database
from app.infra.db.hints import PostgresHints
from app.infra.db.statements import NOTHING, Rows, Statement, Statements
from app.infra.durable.options import WorkerOptions, code_version
from app.infra.durable.ports import NewRun, RunContext, RunState
from app.infra.durable.retention import BATCH_RUNS, Forgotten, count_forgettable, forget
from app.infra.durable.watch import EngineWatch
from app.infra.events.batch import EventBatch
from app.infra.events.hub import EventHub
from app.infra.events.ports import EventType, NewEvent
from app.infra.observability.health import NotWell
from app.kernel.ids import RunId, UserId, new_run_id
from app.kernel.values import Json
from tests.contract.run_rig import OPTIONS, PATIENCE_S, Rig, postgres_rig


@pytest.fixture
def deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    """No hint arrives anywhere."""
    monkeypatch.setattr(PostgresHints, "send", lambda *_: None)


@asynccontextmanager
async def counted_statements() -> AsyncIterator[list[str]]:
    """Every statement that any connection of this process is asked, for as long as the block."""
    said: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:  # Any: SQLAlchemy's own
        said.append(statement)

    execute = Statements.execute

    async def noted(self: Statements, statement: Statement, values: Mapping[str, object] = NOTHING) -> Rows:
        said.append(str(statement))
        return await execute(self, statement, values)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        with mock.patch.object(Statements, "execute", noted):
            yield said
    finally:
        event.remove(Engine, "before_cursor_execute", note)


async def column(database: Database, statement: str, **values: object) -> Any:  # Any: whatever is asked for
    async with database.statements() as connection:
        return (await connection.execute(text(statement), values)).scalar_one_or_none()


async def say_and_wait(context: RunContext) -> Json:
    await context.progress([NewEvent(EventType.TEXT_DELTA, {"text": "x"})])
    await asyncio.sleep(PATIENCE_S)
    return None


async def test_without_hints_runs_are_found_followed_cancelled_and_answered(database: Database, deaf: None) -> None:
    async with postgres_rig(database) as rig, rig.working(lease_s=0.6):
        rig.handler.act = say_and_wait
        run_id = await rig.put()
        await rig.says(run_id, "text_delta")
        assert await rig.engine.cancel(run_id) is RunState.RUNNING
        assert (await rig.ended(run_id)).type == EventType.RUN_INTERRUPTED

        rig.handler.act = lambda context: context.wait("go")
        run_id = await rig.put()
        await rig.says(run_id, "run_waiting")
        await rig.engine.signal(run_id, "go", 1)
        assert (await rig.ended(run_id)).type == EventType.RUN_COMPLETED


async def test_a_worker_at_rest_asks_less_than_five_times_a_second(database: Database) -> None:
    async with postgres_rig(database) as rig, rig.working(lease_s=30.0, poll_s=1.0):
        await rig.ended(await rig.put())
        await asyncio.sleep(0.2)

        async with counted_statements() as said:
            await asyncio.sleep(2.5)

    assert said
    assert len(said) / 2.5 < 5, said


async def test_a_lane_of_twenty_thousand_holds_up_no_other(database: Database) -> None:
    deep = text("""
    INSERT INTO runs (id, kind, owner, trigger, input, lane, state, is_ready, max_attempts, event_seq)
    SELECT CAST(lpad(to_hex(n), 32, '0') AS uuid), 'test', 'ann', 'exchange', '{}', 'deep', 'queued', n = 1, 3, 0
    FROM generate_series(1, 20000) AS n""")
    async with postgres_rig(database) as rig:
        async with database.engine.begin() as connection:
            await connection.execute(deep)
            await connection.execute(text("ANALYZE runs"))
        blocked = asyncio.Event()

        async def act(context: RunContext) -> Json:
            if context.job.lane == "deep":
                await blocked.wait()
            return None

        rig.handler.act = act
        async with rig.working():
            for n in range(5):
                await rig.ended(await rig.put(lane=f"other {n}"))

            plan = "EXPLAIN (FORMAT JSON) SELECT id FROM runs WHERE is_ready AND state IN ('queued', 'waiting')"
            found = await column(database, f"{plan} AND run_at <= now() ORDER BY priority, run_at, id LIMIT 5")
            assert "ix_runs_claim" in str(found)
            assert await column(database, "SELECT count(*) FROM runs WHERE is_ready") <= 1
            blocked.set()


async def test_no_answer_is_lost_however_it_meets_the_wait(database: Database) -> None:
    """A hundred runs that wait, answered at any moment around the one in which they begin to."""
    runs = 100
    chance = random.Random(4)

    async with postgres_rig(database) as rig, rig.working(slots=20):
        rig.handler.act = lambda context: context.wait("go")

        async def ask(number: int) -> RunId:
            run_id = await rig.put()
            await asyncio.sleep(chance.uniform(0, 0.05))
            assert await rig.engine.signal(run_id, "go", number)
            return run_id

        made = await asyncio.gather(*(ask(number) for number in range(runs)))
        for run_id in made:
            assert (await rig.ended(run_id)).type == EventType.RUN_COMPLETED

    results = {ended.job.id: ended.result for ended in rig.handler.settled}
    assert [results[run_id] for run_id in made] == list(range(runs))


async def test_a_cancel_that_meets_a_wait_a_start_or_an_end_ends_the_run_once(database: Database) -> None:
    runs = 60
    chance = random.Random(5)

    async def act(context: RunContext) -> Json:
        await context.progress([NewEvent(EventType.TEXT_DELTA, {"text": "x"})])
        return await context.wait("never") if context.job.input["waits"] else None

    async with postgres_rig(database) as rig, rig.working(slots=20):
        rig.handler.act = act

        async def begin(number: int) -> RunId:
            run_id = await rig.put(input={"waits": number % 2 == 0}, lane=f"lane {number % 7}")
            await asyncio.sleep(chance.uniform(0, 0.1))
            await rig.engine.cancel(run_id)
            return run_id

        made = await asyncio.gather(*(begin(number) for number in range(runs)))
        for run_id in made:
            await rig.ended(run_id)

    assert sorted(ended.job.id for ended in rig.handler.settled) == sorted(made)
    assert {ended.state for ended in rig.handler.settled} <= {RunState.INTERRUPTED, RunState.COMPLETED}


async def test_what_was_said_is_in_the_log_once_whenever_the_run_is_cancelled(database: Database) -> None:
    runs = 40
    chance = random.Random(6)
    said: dict[RunId, str] = {}

    async def act(context: RunContext) -> Json:
        batch = EventBatch(context.progress, every_s=0.004)
        said[context.job.id] = ""
        try:
            for number in range(10_000):
                said[context.job.id] += f"{number} "
                await batch.add(NewEvent(EventType.TEXT_DELTA, {"text": f"{number} "}))
                await asyncio.sleep(0.0005)
        finally:
            await batch.flush()
        return None

    async with postgres_rig(database) as rig, rig.working(slots=10):
        rig.handler.act = act

        async def begin() -> RunId:
            run_id = await rig.put()
            await rig.says(run_id, "text_delta")
            await asyncio.sleep(chance.uniform(0, 0.1))
            await rig.engine.cancel(run_id)
            return run_id

        for run_id in await asyncio.gather(*(begin() for _ in range(runs))):
            events = await rig.events(run_id)
            assert events[-1].type == EventType.RUN_INTERRUPTED
            assert "".join(str(one.data["text"]) for one in events if one.type == "text_delta") == said[run_id]


async def test_a_run_whose_workers_are_lost_again_and_again_is_given_up(database: Database) -> None:
    async with postgres_rig(database) as rig:
        run_id = await rig.put(lane="a")
        behind = await rig.put(lane="a")
        async with database.engine.begin() as connection:
            await connection.execute(text("UPDATE runs SET crashes = 5 WHERE id = :id"), {"id": run_id})
        async with rig.working(max_crashes=5):
            last = await rig.ended(run_id)
            await rig.ended(behind)

    assert last.type == EventType.RUN_FAILED
    assert last.data["error"] == {"type": "run-crashed", "detail": "5 workers were lost while they did this run."}
    assert [ended.state for ended in rig.handler.settled] == [RunState.FAILED, RunState.COMPLETED]


async def test_a_run_of_a_kind_that_is_not_known_here_is_left_to_those_who_know_it(database: Database) -> None:
    async with postgres_rig(database) as rig:
        stranger = await rig.put(kind="other")
        async with rig.working():
            await rig.ended(await rig.put())
            assert [one.type.value for one in await rig.log.read(stranger)] == ["run_queued"]

        state = await rig.engine.cancel(stranger, reason="nobody knows it")

        assert state is RunState.QUEUED
        assert await column(database, "SELECT cancel_reason FROM runs WHERE id = :id", id=stranger) == "nobody knows it"
        async with database.engine.begin() as connection:
            await connection.execute(text("UPDATE runs SET kind = 'test' WHERE id = :id"), {"id": stranger})
        async with rig.working():
            last = await rig.ended(stranger)
        assert (last.type, last.data) == (EventType.RUN_INTERRUPTED, {"reason": "nobody knows it"})


async def test_a_lost_lease_stops_the_handler_and_is_counted(database: Database) -> None:
    stopped = asyncio.Event()

    async def act(context: RunContext) -> Json:
        await context.progress([NewEvent(EventType.TEXT_DELTA, {"text": "x"})])
        try:
            await asyncio.sleep(PATIENCE_S)
        finally:
            stopped.set()
        return None

    async with postgres_rig(database) as rig:
        rig.handler.act = act
        run_id = await rig.put()
        with capture_logs() as logs:
            async with rig.working(lease_s=0.6):
                await rig.says(run_id, "text_delta")
                async with database.engine.begin() as connection:
                    # as if another worker had it by now
                    taken = (
                        "UPDATE runs SET epoch = epoch + 1, worker = 'another', lease_until = now() + interval '1 h'"
                    )
                    await connection.execute(text(taken))
                await asyncio.wait_for(stopped.wait(), PATIENCE_S)
        assert "run.lost" in [line["event"] for line in logs]
        assert await column(database, "SELECT state FROM runs WHERE id = :id", id=run_id) == "running"
        assert rig.handler.settled == []


async def finished_runs(rig: Rig, count: int) -> list[RunId]:
    async def act(context: RunContext) -> Json:
        await context.step("one", _nothing)
        await context.progress([NewEvent(EventType.TEXT_DELTA, {"text": "x"})] * 3)
        return await context.wait("go")

    rig.handler.act = act
    runs = [NewRun(new_run_id(), "test", UserId("ann"), "exchange", {}) for _ in range(count)]
    for run in runs:
        async with rig.begin() as tx:
            await rig.queue.put(tx, run)
            await rig.queue.signal(tx, run.id, "go", 1)
        await rig.engine.dispatch(run.id)
        await rig.ended(run.id)
    return [run.id for run in runs]


async def _nothing(_key: object) -> Json:
    return None


async def test_what_is_long_over_is_let_go_of_but_for_its_last_word(database: Database) -> None:
    days = timedelta(days=30)
    async with postgres_rig(database) as rig, rig.working():
        old = await finished_runs(rig, BATCH_RUNS + 3)
        async with database.engine.begin() as connection:
            await connection.execute(text("UPDATE runs SET finished_at = now() - interval '31 days'"))
        (young,) = await finished_runs(rig, 1)
        rig.handler.act = lambda context: context.wait("go")
        alive = await rig.put()
        await rig.says(alive, "run_waiting")
        expected = Forgotten(runs=len(old), events=5 * len(old), steps=len(old), signals=len(old))

        counted = await count_forgettable(database, older_than=days)
        untouched = await column(database, "SELECT count(*) FROM run_steps")
        done = await forget(database, older_than=days)
        again = await forget(database, older_than=days)

        assert counted == done == expected
        assert untouched == len(old) + 1
        assert again == Forgotten()
        assert [(one.seq, one.type.value) for one in await rig.events(old[0])] == [(6, "run_completed")]
        assert len(await rig.log.read(young)) == 6
        assert len(await rig.log.read(alive)) == 3


async def test_how_the_engine_does_is_measured(database: Database) -> None:
    async with postgres_rig(database) as rig:
        hub = EventHub(database, PostgresHints(database))
        watch = EngineWatch(database, hub, rig.tally)
        await rig.put(lane="a")
        behind = await rig.put(lane="a")
        async with database.engine.begin() as connection:
            aged = text("UPDATE runs SET run_at = now() - interval '1 day' WHERE id = :id")
            await connection.execute(aged, {"id": behind})

        assert await watch.check() == "2 queued, 0 running, 0 waiting"
        assert watch.numbers.oldest_queued_s < 60
        async with database.engine.begin() as connection:
            await connection.execute(text("UPDATE runs SET run_at = now() - interval '2 minutes'"))
        with pytest.raises(NotWell, match=r"2 queued, 0 running, 0 waiting; one has been due for 12\d s"):
            await watch.check()

    samples = {family.name: [sample.value for sample in family.samples] for family in watch.families()}
    assert samples["portico_runs"] == [2, 0, 0]
    assert samples["portico_runs_oldest_due_seconds"][0] >= 120
    assert samples["portico_run_lease_expiries_total"] == [0]


def test_the_code_that_runs_has_a_name() -> None:
    assert code_version().endswith("+j2")
    assert WorkerOptions("x", lease_s=30).beat_s == 10
    assert OPTIONS.version == "1"
