"""Five thousand schedules that are due at once, over three processes of which one is killed."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, text

from app.features.tasks.domain.task import TaskType
from app.features.tasks.tables import TASKS
from app.infra.db.engine import Database
from app.kernel.authority import Authority
from app.kernel.ids import UserId, new_run_id
from tests.conftest import SCHEMA

pytestmark = pytest.mark.soak

SCHEDULES = 5000
PROGRAM = Path(__file__).with_name("schedule_worker.py")
ROOT = Path(__file__).parents[2]
PATIENCE_S = 60

FOUND = text("""
SELECT count(*) AS runs, count(DISTINCT (task_id, scheduled_for)) AS slots, count(DISTINCT task_id) AS tasks,
  coalesce(extract(epoch FROM max(created_at) - min(scheduled_for)), 0)::float AS seconds,
  count(*) FILTER (WHERE state = 'completed') AS completed
FROM runs WHERE task_id IS NOT NULL""")


async def due_at(database: Database, moment: datetime) -> None:
    authority = Authority(UserId("ann"), ("user",)).as_json()
    rows = [
        {
            "id": new_run_id(),
            "owner": "ann",
            "task_type": TaskType.SCHEDULED.value,
            "prompt": f"look {n}",
            "authority": authority,
            "schedule_expression": "every 1h",
            "schedule": {"since": (moment - timedelta(hours=1)).isoformat()},
            "next_run_at": moment,
            "context_data": {},
        }
        for n in range(SCHEDULES)
    ]
    async with database.engine.begin() as connection:
        for start in range(0, SCHEDULES, 500):
            await connection.execute(insert(TASKS), rows[start : start + 500])


@asynccontextmanager
async def workers(dsn: str, count: int) -> AsyncIterator[list[asyncio.subprocess.Process]]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = [
        await asyncio.create_subprocess_exec(sys.executable, str(PROGRAM), dsn, SCHEMA, env=environment, cwd=ROOT)
        for _ in range(count)
    ]
    try:
        yield started
    finally:
        for process in started:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def waited_for(database: Database, column: str, count: int) -> dict[str, float]:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            async with database.statements() as connection:
                found = (await connection.execute(FOUND)).one()
            if found[column] >= count:
                return dict(found)
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("is_killed", [False, True], ids=["three-live", "one-is-killed"])
async def test_five_thousand_at_once_are_fired_once_each_within_ten_seconds(
    database: Database, migrated_dsn: str, *, is_killed: bool
) -> None:
    async with workers(migrated_dsn, 3) as processes:
        moment = (datetime.now(UTC) + timedelta(seconds=6)).replace(microsecond=0)
        await due_at(database, moment)  # nobody is told: they look by themselves, or their clock tells them
        if is_killed:
            await waited_for(database, "runs", SCHEDULES // 4)
            processes[0].send_signal(signal.SIGKILL)
        found = await waited_for(database, "runs", SCHEDULES)
        done = await waited_for(database, "completed", SCHEDULES if not is_killed else SCHEDULES - 100)
        async with database.statements() as connection:
            slots = (await connection.execute(text("SELECT count(*), count(run_id) FROM task_slots"))).one()

    print(f"\n{found['runs']} runs of {found['tasks']} schedules, the last {found['seconds']:.2f} s behind its slot")  # noqa: T201
    assert (found["runs"], found["slots"], found["tasks"]) == (SCHEDULES, SCHEDULES, SCHEDULES)
    assert tuple(slots) == (SCHEDULES, SCHEDULES)
    assert found["seconds"] < 10
    assert done["runs"] == SCHEDULES
