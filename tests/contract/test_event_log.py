"""What the journal of events promises its readers, asked of the fake and of PostgreSQL alike."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from uuid import UUID

import pytest

from app.infra.durable.ports import RunContext
from app.infra.events.ports import EventType, NewEvent, PlacedEvent, RunEvent, RunsCursor
from app.kernel.ids import ChatId, RunId
from app.kernel.values import Json
from tests.contract.run_rig import PATIENCE_S, Rig, a_chat_run, fake_rig, postgres_rig

NOBODY = RunId(UUID(int=7 << 76))
CHAT = ChatId(1)

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


def deltas(count: int) -> Sequence[NewEvent]:
    return [NewEvent(EventType.TEXT_DELTA, {"text": f"{number} "}) for number in range(count)]


def text_of(events: Sequence[RunEvent]) -> str:
    return "".join(str(event.data["text"]) for event in events if event.type is EventType.TEXT_DELTA)


async def say_a_lot(context: RunContext) -> Json:
    """Say 300 words in batches of different sizes."""
    words = deltas(300)
    position = 0
    while position < len(words):
        size = position % 7 + 1
        await context.progress(words[position : position + size])
        position += size
    return None


async def chat_events(rig: Rig, count: int, *, after: RunsCursor | None = None) -> list[PlacedEvent]:
    """Follow the chat for so many events."""
    found: list[PlacedEvent] = []
    async with asyncio.timeout(PATIENCE_S), aclosing(rig.log.follow_chat(CHAT, after=after)) as events:
        async for event in events:
            found.append(event)
            if len(found) == count:
                break
    return found


async def test_events_are_numbered_from_one_without_gaps(rigs: Rigs) -> None:
    async with rigs() as rig, rig.working():
        rig.handler.act = say_a_lot
        run_id = await rig.put(**a_chat_run())
        events = await rig.events(run_id)

        assert [event.seq for event in events] == list(range(1, 304))
        assert text_of(events) == "".join(f"{number} " for number in range(300))
        assert {(event.run_id, event.chat_id) for event in events} == {(run_id, CHAT)}
        assert list(await rig.log.read(run_id)) == events
        assert list(await rig.log.read(run_id, after=300)) == events[300:]
        assert list(await rig.log.read(run_id, after=7, limit=5)) == events[7:12]
        assert all(event.at.tzinfo for event in events)


async def test_a_reader_follows_from_any_place_to_the_end(rigs: Rigs) -> None:
    async with rigs() as rig, rig.working():
        rig.handler.act = say_a_lot
        run_id = await rig.put()
        found = await asyncio.gather(*(_followed(rig, run_id, after) for after in (0, 0, 1, 2, 50, 299)))
        later = [await _followed(rig, run_id, after) for after in (0, 150, 302, 303, 1000)]

    whole = found[0]
    assert len(whole) == 303
    assert [len(events) for events in found] == [303, 303, 302, 301, 253, 4]
    assert [len(events) for events in later] == [303, 153, 1, 0, 0]
    assert all(events == whole[303 - len(events) :] for events in [*found, *later])


async def _followed(rig: Rig, run_id: RunId, after: int) -> list[RunEvent]:
    async with asyncio.timeout(PATIENCE_S):
        return [event async for event in rig.log.follow(run_id, after=after)]


async def test_what_is_shown_is_committed(rigs: Rigs) -> None:
    async with rigs() as rig, rig.working():
        rig.handler.act = say_a_lot
        run_id = await rig.put()
        async with asyncio.timeout(PATIENCE_S):
            async for event in rig.log.follow(run_id):
                if event.seq % 50 == 0:
                    assert event in await rig.log.read(run_id, after=event.seq - 1, limit=1)


async def test_a_run_that_is_not_there_says_nothing(rigs: Rigs) -> None:
    async with rigs() as rig:
        assert list(await rig.log.read(NOBODY)) == []
        assert await _followed(rig, NOBODY, 0) == []


async def test_a_reader_may_leave_at_any_time(rigs: Rigs) -> None:
    async with rigs() as rig, rig.working():
        rig.handler.act = lambda context: context.wait("go")
        run_id = await rig.put()
        async with aclosing(rig.log.follow(run_id)) as events:
            assert (await anext(events)).seq == 1
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await _followed(rig, run_id, 3)

        await rig.engine.signal(run_id, "go", 1)
        assert (await rig.ended(run_id)).type is EventType.RUN_COMPLETED


async def test_a_chat_is_followed_over_its_runs_in_their_order(rigs: Rigs) -> None:
    async with rigs() as rig, rig.working():
        rig.handler.act = say_a_lot
        runs = [await rig.put(**a_chat_run())]
        await rig.put(**a_chat_run(2))

        async def go_on() -> None:
            await rig.ended(runs[0])
            runs.append(await rig.put(**a_chat_run()))

        followed, _ = await asyncio.gather(chat_events(rig, 606), go_on())

        places = [(one.event.run_id, one.event.seq) for one in followed]
        assert places == [(run_id, seq) for run_id in runs for seq in range(1, 304)]
        assert [(one.cursor.run_id, one.cursor.seq) for one in followed] == places
        for at in (0, 5, 302, 303, 400):
            again = await chat_events(rig, 605 - at, after=followed[at].cursor)
            assert again == followed[at + 1 :]


async def test_a_chat_is_followed_from_its_end(rigs: Rigs) -> None:
    async with rigs() as rig, rig.working():
        assert await rig.log.chat_end(CHAT) is None
        over = await rig.put(**a_chat_run())
        last = await rig.ended(over)
        assert await rig.log.chat_end(CHAT) == RunsCursor(over, last.seq)

        rig.handler.act = lambda context: context.wait("go")
        alive = await rig.put(**a_chat_run())
        await rig.says(alive, "run_waiting")
        behind = await rig.put(**a_chat_run())

        end = await rig.log.chat_end(CHAT)

        assert end == RunsCursor(alive, 0)
        followed = await chat_events(rig, 4, after=end)
        assert [(one.event.run_id, one.event.seq) for one in followed] == [
            (alive, 1),
            (alive, 2),
            (alive, 3),
            (behind, 1),
        ]


async def test_nothing_is_missed_behind_a_cursor_while_several_runs_are_alive(rigs: Rigs) -> None:
    """Runs of one chat in lanes of their own, each cursor tried."""
    both = asyncio.Barrier(2)

    async def act(context: RunContext) -> Json:
        for word in deltas(5):
            await context.progress([word])
            async with asyncio.timeout(PATIENCE_S):
                await both.wait()
        return None

    async with rigs() as rig, rig.working():
        rig.handler.act = act
        first = await rig.put(chat_id=CHAT, lane="a")

        async def begin_second() -> RunId:
            return await rig.put(chat_id=CHAT, lane="b")

        live, second = await asyncio.gather(chat_events(rig, 16), begin_second())

        everything = {(run_id, seq) for run_id in (first, second) for seq in range(1, 9)}
        assert {(one.event.run_id, one.event.seq) for one in live} == everything
        for at, one in enumerate(live[:-1]):
            seen = {(before.event.run_id, before.event.seq) for before in live[: at + 1]}
            behind = {place for place in everything if place > (one.cursor.run_id, one.cursor.seq)}
            again = await chat_events(rig, len(behind), after=one.cursor)
            assert {(other.event.run_id, other.event.seq) for other in again} == behind
            assert everything - seen <= behind


async def test_a_queued_run_of_a_chat_is_seen_while_another_runs(rigs: Rigs) -> None:
    async with rigs() as rig, rig.working():
        rig.handler.act = lambda context: context.wait("go")
        first = await rig.put(**a_chat_run())
        await rig.says(first, "run_waiting")
        second = await rig.put(**a_chat_run())
        await rig.engine.cancel(second)

        followed = await chat_events(rig, 5)

        places = [(one.event.run_id, one.event.seq) for one in followed]
        assert places == [(first, 1), (first, 2), (first, 3), (second, 1), (second, 2)]
        assert {one.cursor for one in followed[2:]} == {RunsCursor(first, 3)}


@pytest.mark.parametrize("text", ["", "x", ":1", f"{NOBODY}", f"{NOBODY}:", f"{NOBODY}:-1", f"{NOBODY}:{'9' * 20}"])
def test_a_cursor_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"RUN_ID:SEQ|hexadecimal"):
        RunsCursor.parse(text)


def test_a_cursor_is_read_as_it_was_written() -> None:
    cursor = RunsCursor(NOBODY, 12)

    assert RunsCursor.parse(str(cursor)) == cursor
