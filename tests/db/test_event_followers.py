"""Many who follow runs in one process: what they share, what each may keep waiting, what they survive."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from app.infra.db.engine import Database
from app.infra.db.hints import PostgresHints
from app.infra.durable.ports import RunContext
from app.infra.events import hub as hub_module
from app.infra.events.channel import EVENTS, telling, word_of
from app.infra.events.hub import EventHub
from app.infra.events.log import PostgresEventLog
from app.infra.events.ports import LAST_WORDS, EventType, NewEvent, ReaderTooSlow, RunsCursor
from app.infra.events.readers import MAX_WAITING
from app.kernel.ids import ChatId, RunId
from app.kernel.values import Json
from tests.contract.run_rig import PATIENCE_S, Rig, a_chat_run, postgres_rig
from tests.db.test_run_worker import counted_statements

WORDS = 40


def word(text_: str = "x") -> NewEvent:
    return NewEvent(EventType.TEXT_DELTA, {"text": text_})


@dataclass
class Readers:
    """A process that only reads, on a pool of its own."""

    database: Database
    hints: PostgresHints
    hub: EventHub
    log: PostgresEventLog


@asynccontextmanager
async def reading(database: Database, *, pool_size: int = 5) -> AsyncIterator[Readers]:
    own = Database(replace(database.options, pool_size=pool_size, max_overflow=0))
    hints = PostgresHints(own)
    hub = EventHub(own, hints)
    async with asyncio.TaskGroup() as group:
        loops = [group.create_task(hints.follow()), group.create_task(hub.work())]
        await hints.listens()
        yield Readers(own, hints, hub, PostgresEventLog(own, hub))
        for loop in loops:
            loop.cancel()
    await own.aclose()


async def speak_when_told(context: RunContext) -> Json:
    await context.wait("go")
    for number in range(WORDS):
        await context.progress([word(f"{number} ")])
    return None


async def numbers(log: PostgresEventLog, run_id: RunId, *, after: int = 0) -> list[int]:
    return [event.seq async for event in log.follow(run_id, after=after)]


async def test_two_thousand_streams_need_no_more_than_a_pool_of_five(database: Database) -> None:
    streams, runs = 2000, 20
    async with postgres_rig(database) as rig, rig.working(slots=runs), reading(database) as readers:
        rig.handler.act = speak_when_told
        made = [await rig.put() for _ in range(runs)]
        for run_id in made:
            await rig.says(run_id, "run_waiting")
        async with asyncio.TaskGroup() as group:
            following = [group.create_task(numbers(readers.log, made[n % runs])) for n in range(streams)]
            while readers.hub.followed < runs:  # noqa: ASYNC110 - polled; pytest has the deadline
                await asyncio.sleep(0.01)
            for run_id in made:
                await rig.engine.signal(run_id, "go", 1)

        assert Counter(len(one.result()) for one in following) == {WORDS + 5: streams}
        assert all(one.result() == list(range(1, WORDS + 6)) for one in following)
        assert readers.hub.followed == 0


async def test_readers_of_one_run_share_its_reads(database: Database) -> None:
    readers_of_it = 100
    async with postgres_rig(database) as rig, rig.working(), reading(database) as readers:
        rig.handler.act = speak_when_told
        run_id = await rig.put()
        await rig.says(run_id, "run_waiting")
        async with asyncio.TaskGroup() as group, counted_statements() as said:
            for _ in range(readers_of_it):
                group.create_task(numbers(readers.log, run_id))
            while readers.hub.followed < 1:  # noqa: ASYNC110 - polled; pytest has the deadline
                await asyncio.sleep(0.01)
            await rig.engine.signal(run_id, "go", 1)

        reads = sum("run_events" in statement and "INSERT" not in statement for statement in said)
        assert 0 < reads < readers_of_it


async def test_a_reader_that_falls_behind_is_cut_off_and_told_where(database: Database) -> None:
    async def act(context: RunContext) -> Json:
        await context.wait("go")
        for _ in range(2 * MAX_WAITING // 200):
            await context.progress([word()] * 200)
        return None

    async with postgres_rig(database) as rig, rig.working(), reading(database) as readers:
        rig.handler.act = act
        run_id = await rig.put()
        await rig.says(run_id, "run_waiting")
        async with aclosing(readers.log.follow(run_id, after=1)) as slow:
            assert [(await anext(slow)).seq for _ in range(2)] == [2, 3]
            async with asyncio.timeout(PATIENCE_S):
                fourth = asyncio.ensure_future(anext(slow))  # noqa: TID251 - joins before the run goes on
                while readers.hub.followed < 1:  # noqa: ASYNC110 - polled, with a deadline
                    await asyncio.sleep(0.01)
                await rig.engine.signal(run_id, "go", 1)
                last = await rig.ended(run_id)
                assert (await fourth).seq == 4
                await asyncio.sleep(0.2)  # the hub has read all of it
                with pytest.raises(ReaderTooSlow) as cut:
                    _ = [event async for event in slow]

        after = cut.value.after
        assert isinstance(after, int)
        rest = await numbers(readers.log, run_id, after=after)
        assert rest == list(range(after + 1, last.seq + 1))


async def test_a_reader_that_takes_its_time_to_catch_up_is_not_cut_off(database: Database) -> None:
    words = 3 * MAX_WAITING

    async def act(context: RunContext) -> Json:
        for _ in range(words // 250):
            await context.progress([word()] * 250)
        await context.wait("go")
        for _ in range(words // 250):
            await context.progress([word()] * 250)
        return None

    async with postgres_rig(database) as rig, rig.working(), reading(database) as readers:
        rig.handler.act = act
        run_id = await rig.put()
        await rig.says(run_id, "run_waiting")
        found: list[int] = []
        async with asyncio.timeout(60), aclosing(readers.log.follow(run_id)) as events:
            async for event in events:
                found.append(event.seq)
                if event.seq == 100:
                    await rig.engine.signal(run_id, "go", 1)
                    await rig.ended(run_id)

        assert found == list(range(1, found[-1] + 1))
        assert found[-1] > 2 * words


async def test_what_waits_for_one_reader_is_bounded_in_bytes(database: Database) -> None:
    async def act(context: RunContext) -> Json:
        await context.wait("go")
        for _ in range(40):
            await context.progress([word("x" * 60_000)])
        return None

    async with postgres_rig(database) as rig, rig.working(), reading(database) as readers:
        rig.handler.act = act
        run_id = await rig.put(**a_chat_run())
        await rig.says(run_id, "run_waiting")
        async with aclosing(readers.log.follow_chat(ChatId(1))) as slow:
            for _ in range(3):
                await anext(slow)
            async with asyncio.timeout(PATIENCE_S):
                fourth = asyncio.ensure_future(anext(slow))  # noqa: TID251 - joins before the run goes on
                while readers.hub.followed < 1:  # noqa: ASYNC110 - polled, with a deadline
                    await asyncio.sleep(0.01)
                await rig.engine.signal(run_id, "go", 1)
                await rig.ended(run_id)
                assert (await fourth).event.seq == 4
                await asyncio.sleep(0.3)
                with pytest.raises(ReaderTooSlow) as cut:
                    _ = [event async for event in slow]

        assert isinstance(cut.value.after, RunsCursor)
        assert cut.value.after.run_id == run_id


async def test_readers_survive_the_loss_of_every_connection(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "AWAY_S", 0.02)
    ended = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE pid <> pg_backend_pid() AND datname = current_database()"
    )

    async def act(context: RunContext) -> Json:
        await context.wait("go")
        for number in range(WORDS):
            await context.progress([word(f"{number} ")])
            await asyncio.sleep(0.01)
        return None

    async with postgres_rig(database) as rig, rig.working(), reading(database) as readers:
        rig.handler.act = act
        run_id = await rig.put(**a_chat_run())
        await rig.says(run_id, "run_waiting")

        async def of_chat() -> list[int]:
            async with aclosing(readers.log.follow_chat(ChatId(1))) as events:
                found = []
                async for one in events:
                    found.append(one.event.seq)
                    if one.event.type in LAST_WORDS:
                        break
                return found

        async with asyncio.TaskGroup() as group:
            following = [group.create_task(numbers(readers.log, run_id)) for _ in range(20)]
            chat = group.create_task(of_chat())
            while readers.hub.followed < 1:  # noqa: ASYNC110 - polled; pytest has the deadline
                await asyncio.sleep(0.01)
            await rig.engine.signal(run_id, "go", 1)
            for _ in range(3):
                await asyncio.sleep(0.1)
                async with database.engine.connect() as connection:
                    await connection.execute(ended)

        whole = list(range(1, WORDS + 6))
        assert all(one.result() == whole for one in following)
        assert chat.result() == whole


async def test_without_hints_a_run_that_comes_to_a_followed_chat_is_found(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PostgresHints, "send", lambda *_: None)
    async with postgres_rig(database) as rig, rig.working(), reading(database) as readers:
        readers.hub.poll_s = 0.1
        first = await rig.put(**a_chat_run())
        await rig.ended(first)
        async with asyncio.timeout(PATIENCE_S), aclosing(readers.log.follow_chat(ChatId(1))) as events:
            found = [(await anext(events)).event for _ in range(3)]
            second = await rig.put(**a_chat_run())
            found += [(await anext(events)).event for _ in range(3)]

    places = [(event.run_id, event.seq) for event in found]
    assert places == [(run_id, seq) for run_id in (first, second) for seq in (1, 2, 3)]


async def test_a_new_run_that_is_followed_by_itself_is_seen_by_its_chat_from_the_first_event(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with postgres_rig(database) as rig, reading(database) as readers, asyncio.timeout(PATIENCE_S):
        readers.hub.poll_s = 60
        old = await rig.put(**a_chat_run())
        await rig.engine.cancel(old)
        async with aclosing(readers.log.follow_chat(ChatId(1))) as of_chat:
            for _ in range(2):
                await anext(of_chat)
            third = asyncio.ensure_future(anext(of_chat))  # noqa: TID251 - waits for the new run
            with monkeypatch.context() as deaf:
                deaf.setattr(PostgresHints, "send", lambda *_: None)
                new = await rig.put(**a_chat_run())
            async with aclosing(readers.log.follow(new)) as of_run:
                assert (await anext(of_run)).seq == 1
                second = asyncio.ensure_future(anext(of_run))  # noqa: TID251 - has the hub read the run
                while readers.hub.followed < 1:  # noqa: ASYNC110 - polled, with a deadline
                    await asyncio.sleep(0.01)
                async with rig.working():
                    found = [(await third).event]
                    while found[-1].type not in LAST_WORDS:
                        found.append((await anext(of_chat)).event)
                assert (await second).seq == 2

    assert [(event.run_id, event.seq) for event in found] == [(new, seq) for seq in (1, 2, 3)]


async def test_who_leaves_is_forgotten(database: Database) -> None:
    async with postgres_rig(database) as rig, rig.working(), reading(database) as readers:
        rig.handler.act = speak_when_told
        run_id = await rig.put(**a_chat_run())
        await rig.says(run_id, "run_waiting")

        async def hold(rig: Rig) -> None:
            async with (
                aclosing(readers.log.follow(run_id, after=3)) as one,
                aclosing(readers.log.follow_chat(ChatId(1), after=RunsCursor(run_id, 3))) as two,
            ):
                # with this it waits for both when it is cancelled, so that neither is closed while it still runs
                await asyncio.gather(anext(one), anext(two), return_exceptions=True)

        async with asyncio.TaskGroup() as group:
            holding = group.create_task(hold(rig))
            while not (readers.hub._runs and readers.hub._groups):  # noqa: ASYNC110 - polled; pytest has the deadline
                await asyncio.sleep(0.01)
            holding.cancel()

        assert (readers.hub._runs, readers.hub._groups) == ({}, {})


async def test_what_a_hint_tells_is_not_read_again(database: Database) -> None:
    async def act(context: RunContext) -> Json:
        await context.wait("go")
        for number in range(WORDS):
            await context.progress([word(f"{number} ")])
            await asyncio.sleep(0.01)  # as a model speaks: what comes faster is not told, but read together
        return None

    async with postgres_rig(database) as rig, rig.working(), reading(database) as readers:
        rig.handler.act = act
        run_id = await rig.put()
        await rig.says(run_id, "run_waiting")
        async with counted_statements() as said:
            following = asyncio.ensure_future(numbers(readers.log, run_id))  # noqa: TID251 - joins before the run goes on
            while readers.hub.followed < 1:  # noqa: ASYNC110 - polled; pytest has the deadline
                await asyncio.sleep(0.01)
            await rig.engine.signal(run_id, "go", 1)
            assert await following == list(range(1, WORDS + 6))

    reads = sum("JOIN runs ON runs.id = asked.id" in statement for statement in said)
    assert reads < WORDS / 2


async def test_a_hint_at_what_is_known_has_nothing_read(database: Database) -> None:
    async with postgres_rig(database) as rig, rig.working(), reading(database) as readers:
        rig.handler.act = speak_when_told
        run_id = await rig.put()
        await rig.says(run_id, "run_waiting")
        following = asyncio.ensure_future(numbers(readers.log, run_id))  # noqa: TID251 - joins before the run goes on
        while not any(run.seq == 3 for run in readers.hub._runs.values()):  # noqa: ASYNC110 - polled, as above
            await asyncio.sleep(0.01)
        async with counted_statements() as said:
            for seq in (1, 2, 3):
                readers.hints.send(EVENTS, word_of(run_id, None, seq=seq))
                await asyncio.sleep(0.05)
        await rig.engine.signal(run_id, "go", 1)

        assert await following == list(range(1, WORDS + 6))
    assert not any("JOIN runs ON runs.id = asked.id" in statement for statement in said)


async def test_a_hint_that_tells_what_does_not_come_next_is_not_believed(database: Database) -> None:
    async with postgres_rig(database) as rig, rig.working(), reading(database) as readers:
        rig.handler.act = speak_when_told
        run_id = await rig.put()
        await rig.says(run_id, "run_waiting")
        following = asyncio.ensure_future(numbers(readers.log, run_id))  # noqa: TID251 - joins before the run goes on
        while readers.hub.followed < 1:  # noqa: ASYNC110 - polled; pytest has the deadline
            await asyncio.sleep(0.01)
        for seq in (1, 2, 9, 99):
            false = telling(
                run_id.hex, seq=seq, at=datetime.now(UTC), types=["text_delta"], documents=['{"text":"no"}']
            )
            readers.hints.send(EVENTS, false)
        await rig.engine.signal(run_id, "go", 1)

        assert await following == list(range(1, WORDS + 6))
