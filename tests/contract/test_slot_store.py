"""What the store of slots promises to whoever fires them, asked of the fake and of PostgreSQL alike."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import DateTime, literal

from app.features.runs.domain.run import Run
from app.features.runs.ports import RunStore
from app.features.runs.repository import PostgresRunStore
from app.features.tasks.domain.task import KIND, NewTask, Task, TaskChange, TaskType, Trigger
from app.features.tasks.domain.timing import Timing, timing_of
from app.features.tasks.ports import SlotStore, TaskStore
from app.features.tasks.repository.slots import PostgresSlotStore
from app.features.tasks.repository.tasks import PostgresTaskStore
from app.features.tasks.use_cases.fire_slots import FireSlots
from app.features.tasks.use_cases.start_task import StartTask
from app.infra.db.engine import Database
from app.infra.db.hints import PostgresHints
from app.infra.durable.engine import PostgresEngine
from app.infra.durable.ports import Engine, Handlers, RunQueue, RunState
from app.infra.durable.queue import PostgresRunQueue
from app.kernel.authority import Authority
from app.kernel.ids import RunId, TaskId, UserId, new_run_id
from app.kernel.paging import ListQuery
from app.kernel.transaction import Begin
from app.kernel.values import Json
from tests.contract.run_rig import Scripted
from tests.fakes.agents import ScriptedAgents
from tests.fakes.durable import FakeEngine, FakeRunQueue, FakeRuns
from tests.fakes.runs import FakeRunStore
from tests.fakes.slots import FakeSlotStore
from tests.fakes.tasks import FakeTaskStore

SINCE = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
HANDLERS = Handlers({KIND: Scripted()})


@dataclass
class Desk:
    begin: Begin
    tasks: TaskStore
    slots_at: Callable[[datetime], SlotStore]
    runs: RunStore
    queue: RunQueue
    engine: Engine
    end: Callable[[RunId, RunState], Awaitable[None]]

    async def a_task(
        self,
        expression: str = "every 1h",
        *,
        type_: TaskType = TaskType.SCHEDULED,
        since: datetime = SINCE,
        **settings: Json,
    ) -> Task:
        draft = NewTask(UserId("ann"), type_, "look", schedule_expression=expression, settings=settings)
        async with self.begin() as tx:
            made = await self.tasks.add(tx, TaskId(new_run_id()), draft, authority=Authority(UserId("ann"), ("user",)))
            await self.slots_at(since).plan(tx, made.id, timing_of(draft, enabled=True, now=since))
        return await self.task(made)

    async def task(self, task: Task) -> Task:
        async with self.begin() as tx:
            found = await self.tasks.find_kept(tx, task.id)
        assert found is not None
        return found

    async def fire(self, at: datetime) -> float | None:
        start = StartTask(self.queue, ScriptedAgents())
        return await FireSlots(self.begin, self.slots_at(at), self.queue, start, self.engine)()

    async def runs_of(self, task: Task) -> list[Run]:
        async with self.begin() as tx:
            page = await self.runs.list_of_task(tx, task.id, ListQuery(sort_order="asc", limit=100))
        return list(page.items)

    async def fired(self, task: Task) -> list[datetime]:
        return [run.scheduled_for.astimezone(UTC) for run in await self.runs_of(task) if run.scheduled_for is not None]


def fake_desk() -> Desk:
    tasks = FakeTaskStore()
    kept = FakeRuns(tasks.begin)
    slots = FakeSlotStore(tasks, kept)

    def slots_at(moment: datetime) -> SlotStore:
        slots.clock = moment
        return slots

    async def end(run_id: RunId, state: RunState) -> None:
        kept.runs[run_id].state = state

    engine = FakeEngine(kept, HANDLERS)
    return Desk(tasks.begin, tasks, slots_at, FakeRunStore(kept), FakeRunQueue(kept), engine, end)


def postgres_desk(database: Database) -> Desk:
    queue = PostgresRunQueue()

    async def end(run_id: RunId, state: RunState) -> None:
        change = "UPDATE runs SET state = '{}', finished_at = now(), is_ready = false WHERE id = '{}'"
        async with database.engine.begin() as connection:
            await connection.exec_driver_sql(change.format(state.value, run_id))

    return Desk(
        database.begin,
        PostgresTaskStore(),
        lambda moment: PostgresSlotStore(literal(moment, DateTime(timezone=True))),
        PostgresRunStore(),
        queue,
        PostgresEngine(database, PostgresHints(database), queue, HANDLERS),
        end,
    )


@pytest.fixture(params=["fake", "postgres"])
def desk(request: pytest.FixtureRequest) -> Desk:
    return fake_desk() if request.param == "fake" else postgres_desk(request.getfixturevalue("database"))


async def test_a_slot_is_fired_when_it_has_come_and_once(desk: Desk) -> None:
    task = await desk.a_task()

    assert await desk.fire(SINCE + timedelta(minutes=59)) == 60
    assert await desk.fired(task) == []
    assert await desk.fire(SINCE + HOUR) == 3600
    assert await desk.fire(SINCE + HOUR) == 3600

    (run,) = await desk.runs_of(task)
    assert (run.trigger, run.status, run.task_id) == (Trigger.SCHEDULE, RunState.QUEUED, task.id)
    assert await desk.fired(task) == [SINCE + HOUR]
    assert (await desk.task(task)).next_run_at == SINCE + 2 * HOUR


async def test_where_there_is_no_schedule_nothing_is_waited_for(desk: Desk) -> None:
    assert await desk.fire(SINCE) is None


async def test_a_slot_that_was_fired_is_not_fired_again_when_the_clock_goes_back(desk: Desk) -> None:
    task = await desk.a_task(overlap="queue")
    await desk.fire(SINCE + HOUR)
    kept = Timing({"since": SINCE.isoformat()}, SINCE + HOUR)
    async with desk.begin() as tx:  # as if somebody had planned it anew by a clock that went back
        await desk.slots_at(SINCE).plan(tx, task.id, kept)

    assert await desk.fire(SINCE + HOUR) == 3600

    assert await desk.fired(task) == [SINCE + HOUR]
    assert (await desk.task(task)).next_run_at == SINCE + 2 * HOUR


async def test_what_is_fired_once_is_disabled_and_still_shown(desk: Desk) -> None:
    task = await desk.a_task("at 2026-12-01T13:00")

    assert await desk.fire(SINCE + HOUR) is None

    after = await desk.task(task)
    assert (after.enabled, after.next_run_at) == (False, None)
    assert await desk.fired(task) == [SINCE + HOUR]


@pytest.mark.parametrize("state", ["disabled", "deleted"])
async def test_what_is_disabled_or_deleted_is_not_fired(desk: Desk, state: str) -> None:
    task = await desk.a_task()
    async with desk.begin() as tx:
        if state == "deleted":
            await desk.tasks.delete(tx, task.id)
        else:
            await desk.tasks.update(tx, task.id, TaskChange(enabled=False))

    assert await desk.fire(SINCE + HOUR) is None

    assert await desk.fired(task) == []


async def test_a_slot_is_left_out_while_a_run_is_not_over_and_the_next_one_is_fired(desk: Desk) -> None:
    task = await desk.a_task()
    await desk.fire(SINCE + HOUR)
    await desk.fire(SINCE + 2 * HOUR)
    (run,) = await desk.runs_of(task)
    await desk.end(run.id, RunState.COMPLETED)

    await desk.fire(SINCE + 3 * HOUR)

    assert await desk.fired(task) == [SINCE + HOUR, SINCE + 3 * HOUR]


async def test_runs_wait_for_one_another_where_that_is_wanted(desk: Desk) -> None:
    task = await desk.a_task(overlap="queue", misfire="fire_all")

    await desk.fire(SINCE + 3 * HOUR)

    assert await desk.fired(task) == [SINCE + HOUR, SINCE + 2 * HOUR, SINCE + 3 * HOUR]


async def test_the_previous_run_is_stopped_where_that_is_wanted(desk: Desk) -> None:
    task = await desk.a_task(overlap="cancel_previous")
    await desk.fire(SINCE + HOUR)

    await desk.fire(SINCE + 2 * HOUR)

    states = [run.status for run in await desk.runs_of(task)]
    assert states == [RunState.INTERRUPTED, RunState.QUEUED]
    assert await desk.fired(task) == [SINCE + HOUR, SINCE + 2 * HOUR]


async def test_the_latest_of_the_missed_slots_is_fired(desk: Desk) -> None:
    task = await desk.a_task()

    await desk.fire(SINCE + 100 * HOUR + timedelta(minutes=1))

    assert await desk.fired(task) == [SINCE + 100 * HOUR]


async def test_a_heartbeat_that_failed_is_held_back(desk: Desk) -> None:
    task = await desk.a_task(type_=TaskType.HEARTBEAT)
    await desk.fire(SINCE + HOUR)
    (run,) = await desk.runs_of(task)
    await desk.end(run.id, RunState.FAILED)

    await desk.fire(SINCE + 2 * HOUR)
    await desk.fire(SINCE + 3 * HOUR)

    assert run.trigger == Trigger.HEARTBEAT
    assert await desk.fired(task) == [SINCE + HOUR, SINCE + 3 * HOUR]


async def test_a_heartbeat_that_is_planned_anew_is_not_held_back(desk: Desk) -> None:
    task = await desk.a_task(type_=TaskType.HEARTBEAT)
    await desk.fire(SINCE + HOUR)
    (run,) = await desk.runs_of(task)
    await desk.end(run.id, RunState.FAILED)
    anew = SINCE + HOUR + timedelta(minutes=5)
    async with desk.begin() as tx:
        await desk.slots_at(anew).plan(tx, task.id, Timing({"since": anew.isoformat()}, anew + HOUR))

    await desk.fire(anew + HOUR)

    assert await desk.fired(task) == [SINCE + HOUR, anew + HOUR]


async def test_an_unchanged_checklist_is_left_out_until_it_is_changed(desk: Desk) -> None:
    task = await desk.a_task(skip_unchanged=True)
    await desk.fire(SINCE + HOUR)
    (run,) = await desk.runs_of(task)
    await desk.end(run.id, RunState.COMPLETED)

    await desk.fire(SINCE + 2 * HOUR)
    async with desk.begin() as tx:
        await desk.tasks.update(tx, task.id, TaskChange(context_data={"disks": 3}))
    await desk.fire(SINCE + 3 * HOUR)

    assert await desk.fired(task) == [SINCE + HOUR, SINCE + 3 * HOUR]


async def test_a_schedule_that_cannot_be_read_is_disabled_and_holds_nobody_up(desk: Desk) -> None:
    broken, task = await desk.a_task(), await desk.a_task()
    async with desk.begin() as tx:
        await desk.tasks.update(tx, broken.id, TaskChange(schedule_expression="whenever"))

    await desk.fire(SINCE + HOUR)

    assert not (await desk.task(broken)).enabled
    assert await desk.fired(broken) == []
    assert await desk.fired(task) == [SINCE + HOUR]


async def test_old_slots_are_let_go_of_some_at_a_time(desk: Desk) -> None:
    for _ in range(3):
        await desk.a_task()
    await desk.fire(SINCE + HOUR)

    async def forget(age: timedelta) -> int:
        async with desk.begin() as tx:
            return await desk.slots_at(SINCE + HOUR).forget(tx, older_than=age, at_most=2)

    assert await forget(timedelta(days=30)) == 0
    assert [await forget(timedelta(seconds=-1)) for _ in range(3)] == [2, 1, 0]


async def test_several_who_look_at_once_fire_every_slot_once(desk: Desk) -> None:
    tasks = [await desk.a_task(since=SINCE + timedelta(seconds=n)) for n in range(130)]
    due = SINCE + HOUR + timedelta(minutes=5)

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(desk.fire(due))
    for _ in range(100):  # what the others had in hand when it was looked at
        if (await desk.fire(due) or 0) > 1:
            break

    assert [await desk.fired(task) for task in tasks] == [[SINCE + HOUR + timedelta(seconds=n)] for n in range(130)]
