"""Runs in the database, put there as a use case does and set to what a test is about; of a kind that nobody handles."""

from collections.abc import Mapping
from datetime import timedelta

from sqlalchemy import text

from app.infra.db.engine import Database, session_of
from app.infra.durable.ports import NewRun
from app.infra.durable.queue import PostgresRunQueue
from app.kernel.ids import RunId, UserId, new_run_id
from app.kernel.values import Json

_RUNS = text("""
    UPDATE runs SET state = 'running', epoch = :epoch, worker = 'somebody', lease_until = now() + :left
    WHERE id = :id
""")


async def a_queued_run(database: Database, *, owner: str = "ann", told: Mapping[str, Json] | None = None) -> RunId:
    run = NewRun(id=new_run_id(), kind="nobodys", owner=UserId(owner), trigger="manual", input=told or {})
    async with database.begin() as tx:
        return await PostgresRunQueue().put(tx, run)


async def a_running_run(
    database: Database,
    *,
    owner: str = "ann",
    told: Mapping[str, Json] | None = None,
    epoch: int = 1,
    left: timedelta = timedelta(hours=1),
) -> RunId:
    """As if a worker had taken it, whose lease is good for so long."""
    run_id = await a_queued_run(database, owner=owner, told=told)
    async with database.begin() as tx:
        await session_of(tx).execute(_RUNS, {"id": run_id, "epoch": epoch, "left": left})
    return run_id


async def set_run(database: Database, run_id: RunId, change: str) -> None:
    async with database.begin() as tx:
        await session_of(tx).execute(text(f"UPDATE runs SET {change} WHERE id = :id"), {"id": run_id})
