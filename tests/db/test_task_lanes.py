"""Runs of tasks that end, begin and are waited for at the same moment, on a real PostgreSQL."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
from sqlalchemy import text

from app.features.notifications.domain.config import ANYWHERE
from app.features.runs.repository import PostgresRunStore
from app.features.tasks.domain.order import input_of
from app.features.tasks.domain.task import KIND, NewTask, Task, TaskChange, TaskType
from app.features.tasks.repository.slots import PostgresSlotStore
from app.features.tasks.repository.tasks import PostgresTaskStore
from app.features.tasks.use_cases.add_task import AddTask
from app.features.tasks.use_cases.end_task import EndTask
from app.features.tasks.use_cases.keep_secret import KeepSecret
from app.features.tasks.use_cases.plan_task import PlanTask
from app.features.tasks.use_cases.start_task import StartTask
from app.features.tasks.use_cases.update_task import UpdateTask
from app.infra.db.engine import Database, session_of
from app.infra.db.sealing import AesSeal
from app.infra.durable.ports import Ended, Engine, Job, RunState
from app.infra.durable.queue import PostgresRunQueue
from app.kernel.ids import ChatId, RunId, new_run_id
from app.kernel.transaction import Tx
from tests.fakes.agents import ScriptedAgents
from tests.fakes.audit import FakeAuditStore
from tests.fakes.chat_slice import ANN
from tests.fakes.slots import FakeAlarm
from tests.fakes.tasks import RecordingOutcomes
from tests.fakes.webhooks import FakeSecretStore

WHILE_ANOTHER_WAITS_S = 0.2


class Nobody:
    """Closes nothing, and hears of no run."""

    async def __call__(self, tx: Tx, run_id: RunId) -> Sequence[object]:
        return []

    async def dispatch(self, run_id: RunId, *, chat_id: ChatId | None = None) -> None:
        """Tell no worker."""


@dataclass
class Office:
    database: Database
    agents: ScriptedAgents = field(default_factory=ScriptedAgents)
    store: PostgresTaskStore = field(default_factory=PostgresTaskStore)

    def __post_init__(self) -> None:
        self.start = StartTask(PostgresRunQueue(), self.agents)
        plan = PlanTask(PostgresSlotStore(), FakeAlarm())
        self.add = AddTask(
            self.store, self.start, plan, KeepSecret(FakeSecretStore(), AesSeal(lambda: [b"k" * 32])), ANYWHERE
        )
        self.end = EndTask(self.store, PostgresRunStore(), self.start, RecordingOutcomes(), Nobody(), Nobody())  # type: ignore[arg-type] # nothing to close

    async def a_task(self, *needs: Task, type_: TaskType = TaskType.TRIGGERED) -> Task:
        draft = NewTask(ANN.user_id, type_, "hello", depends_on=tuple(task.id for task in needs))
        async with self.database.begin() as tx:
            return (await self.add(tx, draft, ANN)).task

    async def settle(self, tx: Tx, task: Task) -> None:
        told = input_of(task, prompt="hello", authority=task.authority, request_id="", extra=None)
        job = Job(new_run_id(), KIND, task.owner, "manual", told, f"task:{task.id}", None, None, 1, 1, "1")
        await self.start.hold(tx, [task.id])  # as the engine does
        await self.end.settle(tx, Ended(job, RunState.COMPLETED))

    async def runs_of(self, task: Task) -> int:
        async with self.database.begin() as tx:
            counted = text("SELECT count(*) FROM runs WHERE task_id = :id")
            return int(await session_of(tx).scalar(counted, {"id": task.id}) or 0)


@pytest.fixture
def office(database: Database) -> Office:
    return Office(database)


async def test_of_two_that_are_done_at_once_one_begins_what_waits_for_both(office: Office) -> None:
    one, other = await office.a_task(), await office.a_task()
    waiting = await office.a_task(one, other, type_=TaskType.DELEGATION)

    async def be_second() -> None:
        async with office.database.begin() as tx:
            await office.settle(tx, other)

    async with asyncio.TaskGroup() as group, office.database.begin() as tx:
        await office.settle(tx, one)
        group.create_task(be_second())
        await asyncio.sleep(WHILE_ANOTHER_WAITS_S)

    assert await office.runs_of(waiting) == 1


async def test_a_task_is_enabled_while_a_run_of_it_ends(office: Office) -> None:
    task = await office.a_task(type_=TaskType.DELEGATION)
    engine: Engine = Nobody()  # type: ignore[assignment] # it is told of runs, and of nothing else
    update = UpdateTask(office.database.begin, office.store, office.agents, office.add, engine, FakeAuditStore())
    await update(ANN, task.id, TaskChange(enabled=False))

    async with asyncio.TaskGroup() as group, office.database.begin() as tx:
        await office.start.hold(tx, [task.id])
        enabling = group.create_task(update(replace(ANN, issued_at=1.0), task.id, TaskChange(enabled=True)))
        await asyncio.sleep(WHILE_ANOTHER_WAITS_S)
        await office.settle(tx, task)

    assert enabling.result().enabled
    assert enabling.result().last_status is RunState.COMPLETED
    assert await office.runs_of(task) == 1
