"""What the journal of events promises whoever follows a person, asked of the fake and of PostgreSQL alike."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from uuid import UUID

import pytest

from app.infra.durable.ports import NewChild, RunContext
from app.infra.events.ports import LAST_WORDS, EventType, PlacedEvent, RunsCursor
from app.kernel.ids import ChatId, RunId, UserId
from app.kernel.values import Json
from tests.contract.run_rig import PATIENCE_S, Rig, fake_rig, nothing, postgres_rig

ANN, BEN = UserId("ann"), UserId("ben")

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


class Follower:
    """Follows a person from the moment it is made; `begun` lets it take its place."""

    def __init__(self, rig: Rig, owner: UserId = ANN, *, after: RunsCursor | None = None) -> None:
        self.seen: list[PlacedEvent] = []
        self._news = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._follow(rig, owner, after))

    async def _follow(self, rig: Rig, owner: UserId, after: RunsCursor | None) -> None:
        async with aclosing(rig.log.follow_person(owner, after=after)) as events:
            async for event in events:
                self.seen.append(event)
                self._news.set()

    async def sees(self, run_id: RunId, type_: EventType) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not any((one.event.run_id, one.event.type) == (run_id, type_) for one in self.seen):
                self._news.clear()
                await self._news.wait()

    async def sees_ends(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while sum(one.event.type in LAST_WORDS for one in self.seen) < count:
                self._news.clear()
                await self._news.wait()

    async def end(self) -> list[tuple[RunId, int]]:
        self._task.cancel()
        await asyncio.wait([self._task])
        return [(one.event.run_id, one.event.seq) for one in self.seen]


async def wait_for_it(context: RunContext) -> Json:
    return await context.wait("go")


async def test_what_all_runs_of_a_person_say_is_followed_from_now_on(rigs: Rigs) -> None:
    async with rigs() as rig, rig.working():
        before = await rig.put()
        await rig.ended(before)
        rig.handler.act = wait_for_it
        alive = await rig.put()
        await rig.says(alive, "run_waiting")

        follower = Follower(rig)
        await asyncio.sleep(0.3)
        rig.handler.act = nothing
        after = [await rig.put(chat_id=ChatId(5), lane="a"), await rig.put()]
        others = await rig.put(owner=BEN)
        await rig.engine.signal(alive, "go", None)
        for run_id in (alive, *after):
            await follower.sees(run_id, EventType.RUN_COMPLETED)
        await rig.ended(others)
        seen = await follower.end()

    assert {run_id for run_id, _ in seen} == {alive, *after}  # neither what is over, nor another's
    assert [seq for run_id, seq in seen if run_id == alive] == [4, 5]
    assert all([seq for run_id, seq in seen if run_id == one] == [1, 2, 3] for one in after)


async def test_children_are_seen_too(rigs: Rigs) -> None:
    async def act(context: RunContext) -> Json:
        if context.job.parent_id is None:
            await context.join([await context.begin("part", NewChild("test", "research", {}))])
        return None

    async with rigs() as rig, rig.working():
        rig.handler.act = act
        follower = Follower(rig)
        await asyncio.sleep(0.1)
        await rig.put()
        await follower.sees_ends(2)
        seen = await follower.end()

    assert len({run_id for run_id, _ in seen}) == 2


async def test_whoever_comes_back_behind_a_place_misses_nothing(rigs: Rigs) -> None:
    async with rigs() as rig, rig.working():
        follower = Follower(rig)
        await asyncio.sleep(0.1)
        runs = [await rig.put() for _ in range(4)]
        for run_id in runs:
            await follower.sees(run_id, EventType.RUN_COMPLETED)
        everything = set(await follower.end())
        places = list(follower.seen)

        for at in (0, 5, len(places) - 1):
            again = Follower(rig, after=places[at].cursor)
            late = await rig.put()
            await again.sees(late, EventType.RUN_COMPLETED)
            seen = {(one.event.run_id, one.event.seq) for one in places[: at + 1]}
            assert everything - seen <= set(await again.end())


async def test_a_run_whose_id_is_smaller_than_one_that_was_seen_is_not_missed(rigs: Rigs) -> None:
    """Two hosts' clocks differ, or a transaction took its time."""
    async with rigs() as rig, rig.working():
        newest = await rig.put()
        await rig.ended(newest)
        follower = Follower(rig)
        await asyncio.sleep(0.2)

        late = RunId(UUID(int=newest.int - (2000 << 80)))
        run_id = await rig.put(id=late)
        await follower.sees(run_id, EventType.RUN_COMPLETED)
        seen = await follower.end()

    assert run_id == late
    assert {run_id for run_id, _ in seen} == {late}
