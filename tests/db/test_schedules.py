"""Schedules on PostgreSQL: when a scheduler wakes, what it asks while nothing is due, and whom it waits for."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from app.features.tasks.domain.task import KIND, NewTask, Task, TaskType, lane_of
from app.features.tasks.domain.timing import Timing
from app.features.tasks.repository.alarm import HintedAlarm
from app.features.tasks.repository.slots import PostgresSlotStore
from app.features.tasks.repository.tasks import PostgresTaskStore
from app.features.tasks.use_cases import keep_schedules
from app.features.tasks.use_cases.fire_slots import BUSY_S, FireSlots
from app.features.tasks.use_cases.keep_schedules import KeepSchedules
from app.features.tasks.use_cases.start_task import Start, StartTask
from app.infra.db.engine import Database, session_of
from app.infra.db.errors import StorageUnavailable
from app.infra.db.hints import PostgresHints
from app.infra.durable.engine import PostgresEngine
from app.infra.durable.ports import Handlers
from app.infra.durable.queue import PostgresRunQueue
from app.kernel.authority import Authority
from app.kernel.ids import RunId, TaskId, UserId, new_run_id
from app.kernel.transaction import Tx
from tests.contract.run_rig import Scripted
from tests.db.test_run_worker import counted_statements
from tests.fakes.agents import ScriptedAgents

PATIENCE_S = 10
HOUR = timedelta(hours=1)
SLOTS = PostgresSlotStore()


@dataclass
class Bench:
    database: Database
    queue: PostgresRunQueue = field(default_factory=PostgresRunQueue)

    def __post_init__(self) -> None:
        self.hints = PostgresHints(self.database)
        self.start = StartTask(self.queue, ScriptedAgents())
        self.engine = PostgresEngine(self.database, self.hints, self.queue, Handlers({KIND: Scripted()}))

    def firing(self, start: StartTask | None = None) -> FireSlots:
        return FireSlots(self.database.begin, SLOTS, self.queue, start or self.start, self.engine)

    async def a_task(self, due: timedelta) -> Task:
        """One that is due in so long, and then every hour."""
        draft = NewTask(UserId("ann"), TaskType.SCHEDULED, "look", schedule_expression="every 1h")
        async with self.database.begin() as tx:
            moment = await SLOTS.now(tx) + due
            authority = Authority(UserId("ann"), ("user",))
            made = await PostgresTaskStore().add(tx, TaskId(new_run_id()), draft, authority=authority)
            await SLOTS.plan(tx, made.id, Timing({"since": (moment - HOUR).isoformat()}, moment))
        return made

    async def count(self, of: str) -> int:
        async with self.database.statements() as connection:
            return int((await connection.execute(text(f"SELECT count(*) FROM {of}"))).scalar_one())

    async def ran(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while await self.count("runs") < count:  # noqa: ASYNC110 another process's act is no event here
                await asyncio.sleep(0.02)

    @asynccontextmanager
    async def keeping(self) -> AsyncIterator[None]:
        """A scheduler that has looked once."""
        schedules = KeepSchedules(self.database.begin, SLOTS, self.firing(), HintedAlarm(self.hints))
        async with asyncio.TaskGroup() as group:
            following = group.create_task(self.hints.follow())
            await self.hints.listens()
            working = group.create_task(schedules.work())
            await asyncio.sleep(0.3)  # it has looked, and what was heard at the beginning is heeded
            try:
                yield
            finally:
                following.cancel()
                working.cancel()


@pytest.fixture
def bench(database: Database) -> Bench:
    return Bench(database)


async def test_a_scheduler_wakes_when_the_next_slot_has_come(bench: Bench) -> None:
    await bench.a_task(timedelta(seconds=0.8))

    async with bench.keeping():
        assert await bench.count("runs") == 0
        await bench.ran(1)

    async with bench.database.statements() as connection:
        asked = text("SELECT extract(epoch FROM created_at - scheduled_for) FROM runs")
        late = (await connection.execute(asked)).scalar_one()
    assert 0 <= late < keep_schedules.POLL_S / 3


async def test_a_scheduler_wakes_when_another_process_changed_a_schedule(bench: Bench) -> None:
    other = Bench(bench.database)

    async with bench.keeping(), asyncio.TaskGroup() as group:
        following = group.create_task(other.hints.follow())
        await bench.a_task(timedelta(0))
        HintedAlarm(other.hints).ring()
        await bench.ran(1)
        following.cancel()


async def test_a_scheduler_that_is_told_nothing_looks_by_itself(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keep_schedules, "POLL_S", 0.2)

    async with bench.keeping():
        await bench.a_task(timedelta(0))
        await bench.ran(1)


async def test_a_scheduler_asks_next_to_nothing_while_nothing_is_due(bench: Bench) -> None:
    await bench.a_task(HOUR)
    async with bench.keeping(), counted_statements() as said:
        await asyncio.sleep(1)

    assert [one for one in said if "tasks" in one] == []


@dataclass(frozen=True, slots=True)
class BrokenStart(StartTask):
    async def put_many(self, tx: Tx, starts: Sequence[Start]) -> Sequence[RunId]:
        await StartTask.put_many(self, tx, starts)
        raise StorageUnavailable


async def test_a_slot_whose_run_could_not_be_put_is_fired_another_time(bench: Bench) -> None:
    await bench.a_task(timedelta(0))

    with pytest.raises(StorageUnavailable):
        await bench.firing(BrokenStart(bench.queue, ScriptedAgents()))()
    assert (await bench.count("task_slots"), await bench.count("runs")) == (0, 0)
    await bench.firing()()

    assert (await bench.count("task_slots"), await bench.count("runs")) == (1, 1)


@pytest.mark.parametrize("held", ["lane", "row"])
async def test_a_scheduler_waits_for_nobody_who_has_the_task_in_hand(bench: Bench, held: str) -> None:
    task, other = await bench.a_task(timedelta(0)), await bench.a_task(timedelta(0))

    async with bench.database.begin() as tx:
        if held == "lane":
            await bench.queue.take_place(tx, lane=lane_of(task.id))
        else:
            row = "SELECT FROM tasks WHERE id = :id FOR UPDATE"
            await session_of(tx).execute(text(row), {"id": task.id})
        async with asyncio.timeout(PATIENCE_S):
            assert await bench.firing()() == BUSY_S
        assert await bench.count(f"runs WHERE task_id = '{other.id}'") == 1
        assert await bench.count(f"runs WHERE task_id = '{task.id}'") == 0
    await bench.firing()()

    assert await bench.count("runs") == 2


async def test_a_scheduler_and_who_ends_a_run_do_not_wait_for_each_other(bench: Bench) -> None:
    tasks = [await bench.a_task(timedelta(0)) for _ in range(20)]

    async def end(task: Task) -> None:
        async with bench.database.begin() as tx:  # as the engine does: the lane first, the task's row then
            await bench.queue.take_place(tx, lane=lane_of(task.id))
            await asyncio.sleep(0.02)
            change = text("UPDATE tasks SET last_run_at = now() WHERE id = :id")
            await session_of(tx).execute(change, {"id": task.id})

    async with asyncio.TaskGroup() as group:
        for task in tasks:
            group.create_task(end(task))
        for _ in range(3):
            group.create_task(bench.firing()())
    await bench.firing()()  # what the others had in hand

    assert (await bench.count("task_slots"), await bench.count("runs")) == (20, 20)


async def test_a_scheduler_goes_on_when_the_database_was_away(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keep_schedules, "AWAY_S", 0.05)
    looks: list[datetime] = []
    wait_s = PostgresSlotStore.wait_s

    async def away_at_first(self: PostgresSlotStore, tx: Tx) -> float | None:
        looks.append(datetime.now(UTC))
        if len(looks) < 3:
            raise StorageUnavailable
        return await wait_s(self, tx)

    monkeypatch.setattr(PostgresSlotStore, "wait_s", away_at_first)
    await bench.a_task(timedelta(0))

    async with bench.keeping():
        await bench.ran(1)
