"""What the engine promises of runs that begin others, asked of the fake and of PostgreSQL alike."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from app.infra.durable.ports import (
    ChildEnd,
    FamilyFull,
    FamilyLimits,
    NewChild,
    RunContext,
    RunError,
    RunFailed,
    RunState,
)
from app.infra.events.ports import EventType
from app.kernel.ids import RunId, UserId
from app.kernel.values import Json
from tests.contract.run_rig import PATIENCE_S, Act, Rig, fake_rig, postgres_rig

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


def child(part: str, **told: Json) -> NewChild:
    return NewChild("test", "research", {"part": part, **told}, agent="echo")


def parts(**acts: Act) -> Act:
    """Do what belongs to the part that a run's input names; "parent" where it names none."""

    async def act(context: RunContext) -> Json:
        return await acts[str(context.job.input.get("part", "parent"))](context)

    return act


async def say_its_number(context: RunContext) -> Json:
    return context.job.input["n"]


async def wait_for_ever(context: RunContext) -> Json:
    return await context.wait("never")


async def test_a_parent_waits_without_a_slot_and_is_handed_what_its_children_did(rigs: Rigs) -> None:
    async def parent(context: RunContext) -> Json:
        begun = [await context.begin("part", child("number", n=n)) for n in range(5)]
        await context.join(begun)
        return [await context.read_child(one) for one in begun]

    async with rigs() as rig, rig.working(slots=1):  # a parent that kept its slot would wait for ever
        rig.handler.act = parts(parent=parent, number=say_its_number)

        run_id = await rig.put()

        words = [event.type for event in await rig.events(run_id)]
    assert EventType.RUN_WAITING in words
    (end,) = [ended for ended in rig.handler.settled if ended.job.id == run_id]
    assert end.result == [0, 1, 2, 3, 4]
    of_children = [ended.job for ended in rig.handler.settled if ended.job.id != run_id]
    assert {(job.parent_id, job.owner, job.agent, job.trigger) for job in of_children} == {
        (run_id, UserId("ann"), "echo", "research")
    }


async def test_a_child_is_begun_once_whatever_becomes_of_the_attempt(rigs: Rigs) -> None:
    begun: list[RunId] = []

    async def parent(context: RunContext) -> Json:
        begun.append(await context.begin("part", child("number", n=1)))
        begun.append(await context.begin("part", child("number", n=2)))
        if context.job.attempt == 1:
            raise ZeroDivisionError
        await context.join(begun[-2:])
        return None

    async with rigs() as rig, rig.working():
        rig.handler.act = parts(parent=parent, number=say_its_number)
        await rig.ended(await rig.put())

    assert len(begun) >= 4
    assert len(set(begun)) == 2
    assert len([ended for ended in rig.handler.settled if ended.job.parent_id]) == 2


async def test_a_parent_goes_on_as_soon_as_so_many_are_over(rigs: Rigs) -> None:
    seen: list[int] = []

    async def parent(context: RunContext) -> Json:
        begun = [await context.begin("part", child(part, n=1)) for part in ("never", "number", "never", "number")]
        ends = await context.join(begun, at_least=2)
        seen.append(len(ends))
        return sorted(begun.index(one) for one in ends)

    async with rigs() as rig, rig.working():
        rig.handler.act = parts(parent=parent, number=say_its_number, never=wait_for_ever)
        run_id = await rig.put()
        await rig.ended(run_id)

        (end,) = [ended for ended in rig.handler.settled if ended.job.id == run_id]
        assert end.result == [1, 3]
        assert seen == [2]
        await until_settled(rig, 5)
    stopped = [ended.state for ended in rig.handler.settled if ended.job.input.get("part") == "never"]
    assert stopped == [RunState.INTERRUPTED] * 2  # whoever began them is over


async def test_a_parent_is_told_how_its_children_ended(rigs: Rigs) -> None:
    async def fail(context: RunContext) -> Json:
        raise RunFailed(RunError("no-good", "It is no good."))

    told: list[ChildEnd] = []

    async def parent(context: RunContext) -> Json:
        bad = await context.begin("bad", child("bad"))
        good = await context.begin("good", child("number", n=1))
        ends = await context.join([bad, good])
        told.extend([ends[bad], ends[good]])
        return None

    async with rigs() as rig, rig.working():
        rig.handler.act = parts(parent=parent, number=say_its_number, bad=fail)
        await rig.ended(await rig.put())

    assert told == [
        ChildEnd(RunState.FAILED, RunError("no-good", "It is no good.")),
        ChildEnd(RunState.COMPLETED, None),
    ]


async def test_nobody_reads_anothers_child(rigs: Rigs) -> None:
    read: list[Json] = []

    async def parent(context: RunContext) -> Json:
        mine = await context.begin("part", child("number", n=7))
        await context.join([mine])
        read.append(await context.read_child(mine))
        return str(mine)

    async def thief(context: RunContext) -> Json:
        others = RunId(UUID(str(context.job.input["of"])))
        read.append(await context.read_child(others))
        await context.join([others])
        return None

    async with rigs() as rig, rig.working():
        rig.handler.act = parts(parent=parent, number=say_its_number, thief=thief)
        await rig.ended(await rig.put())
        others = str(rig.handler.settled[-1].result)
        stealing = await rig.put(input={"part": "thief", "of": others})
        await rig.says(stealing, "run_waiting")
        await rig.engine.cancel(stealing)

    assert read == [7, None]


@pytest.mark.parametrize("way", ["cancelled", "failed"])
async def test_the_end_of_a_run_is_the_end_of_its_children_and_of_theirs(rigs: Rigs, way: str) -> None:
    at_work: list[RunId] = []
    all_at_work = asyncio.Event()

    def note(context: RunContext) -> None:
        at_work.append(context.job.id)
        if len(at_work) == 3:
            all_at_work.set()

    async def parent(context: RunContext) -> Json:
        begun = [await context.begin("part", child(part)) for part in ("middle", "middle", "working")]
        if way == "failed":
            await asyncio.wait_for(all_at_work.wait(), PATIENCE_S)
            raise RunFailed(RunError("no-good", "It is no good."))
        await context.join(begun)
        return None

    async def middle(context: RunContext) -> Json:
        await context.join([await context.begin("part", child("lowest"))])
        return None

    async def lowest(context: RunContext) -> Json:
        note(context)
        return await context.wait("never")

    async def working(context: RunContext) -> Json:
        note(context)
        await asyncio.sleep(PATIENCE_S)
        return None

    async with rigs() as rig, rig.working():
        rig.handler.act = parts(parent=parent, middle=middle, working=working, lowest=lowest)
        run_id = await rig.put()
        await asyncio.wait_for(all_at_work.wait(), PATIENCE_S)
        if way == "cancelled":
            await rig.says(run_id, "run_waiting")
            assert await rig.engine.cancel(run_id, reason="enough") is RunState.INTERRUPTED
        await until_settled(rig, 6)
        last = await rig.ended(at_work[0])

    ends = {str(ended.job.input.get("part")): ended.state for ended in rig.handler.settled}
    assert ends.pop("None") is (RunState.FAILED if way == "failed" else RunState.INTERRUPTED)
    assert ends == dict.fromkeys(("middle", "working", "lowest"), RunState.INTERRUPTED)
    assert last.data == {"reason": "the run that began it is over"}


async def test_runs_end_side_by_side_while_their_parent_comes_and_goes(rigs: Rigs) -> None:
    """Every end wakes the parent, which goes to wait again: none is missed, and no two wait for each other."""

    async def parent(context: RunContext) -> Json:
        begun: list[RunId] = []
        for n in range(24):
            begun.append(await context.begin("part", child("number", n=n)))
            await context.join(begun, at_least=len(begun) - 5)  # six at once
        await context.join(begun)
        return [await context.read_child(one) for one in begun]

    async with rigs() as rig, rig.working():
        rig.handler.act = parts(parent=parent, number=say_its_number)
        families = [await rig.put() for _ in range(3)]
        for run_id in families:
            await rig.ended(run_id)

    results = [ended.result for ended in rig.handler.settled if ended.job.parent_id is None]
    assert results == [list(range(24))] * 3
    assert len(rig.handler.settled) == 3 * 25


async def until_settled(rig: Rig, count: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while len(rig.handler.settled) < count:  # noqa: ASYNC110 - polled, with a deadline
            await asyncio.sleep(0.005)


async def test_a_family_has_so_many_children_at_once_and_those_that_wait_for_theirs_do_not_count(rigs: Rigs) -> None:
    limits = FamilyLimits(at_once=2, in_all=10)
    grandchildren: list[Json] = []
    was_full = asyncio.Event()

    async def parent(context: RunContext) -> Json:
        begun = [await context.begin("part", within(limits, "middle")) for _ in range(2)]
        with pytest.raises(FamilyFull) as full:
            await context.begin("part", within(limits, "number"))
        assert not full.value.is_for_good
        was_full.set()
        await context.join(begun)
        return None

    async def middle(context: RunContext) -> Json:
        await was_full.wait()
        mine = await context.begin("part", within(limits, "number"))  # the place is the one it leaves while it waits
        await context.join([mine])
        grandchildren.append(await context.read_child(mine))
        return None

    async with rigs() as rig, rig.working():
        rig.handler.act = parts(parent=parent, middle=middle, number=say_its_number)
        last = await rig.ended(await rig.put())

    assert (last.type, grandchildren) == (EventType.RUN_COMPLETED, [1, 1])


async def test_a_family_has_so_many_children_ever(rigs: Rigs) -> None:
    refused: list[bool] = []

    async def parent(context: RunContext) -> Json:
        for _ in range(2):
            await context.join([await context.begin("part", within(FamilyLimits(9, in_all=2), "number"))])
        try:
            await context.begin("part", within(FamilyLimits(9, in_all=2), "number"))
        except FamilyFull as full:
            refused.append(full.is_for_good)
        return await context.wait("later")

    async with rigs() as rig, rig.working():
        rig.handler.act = parts(parent=parent, number=say_its_number)
        run_id = await rig.put()
        async for event in rig.log.follow(run_id):
            if event.data.get("for") == "later":
                break
        await rig.engine.signal(run_id, "later", None)
        await rig.ended(run_id)

    assert len(refused) >= 2  # again in the next process, as it was kept
    assert all(refused)


async def test_a_parent_does_not_wait_for_its_children_for_longer_than_it_says(rigs: Rigs) -> None:
    async def parent(context: RunContext) -> Json:
        begun = [await context.begin("part", child(part, n=1)) for part in ("never", "number")]
        until = datetime.fromisoformat(str(context.job.input["until"]))
        ends = await context.join(begun, until=until)
        return [begun.index(one) for one in ends]

    async with rigs() as rig, rig.working():
        rig.handler.act = parts(parent=parent, number=say_its_number, never=wait_for_ever)
        soon = datetime.now(UTC) + timedelta(seconds=0.4)
        run_id = await rig.put(input={"until": soon.isoformat()})
        await rig.ended(run_id)

    (end,) = [ended for ended in rig.handler.settled if ended.job.id == run_id]
    assert end.result == [1]


def within(limits: FamilyLimits, part: str) -> NewChild:
    return NewChild("test", "research", {"part": part, "n": 1}, agent="echo", within=limits)
