"""How the runs of a dead worker are found: their leases have run out, or somebody has seen it die. Any worker looks."""

from sqlalchemy import text

from app.infra.db.engine import Database

BATCH = 100

_REQUEUE = """
WITH dead AS (
  SELECT id FROM runs WHERE state = 'running' AND {is_dead} LIMIT :most FOR UPDATE SKIP LOCKED
)
UPDATE runs SET state = 'queued', is_ready = true, crashes = crashes + 1, worker = NULL, lease_until = NULL,
  run_at = now() + make_interval(secs => CASE crashes WHEN 0 THEN 0 ELSE least(60, 2 ^ least(crashes, 6)) END)
FROM dead WHERE runs.id = dead.id RETURNING runs.id"""
_EXPIRED = text(_REQUEUE.format(is_dead="lease_until < now()"))
_LEFT = text(_REQUEUE.format(is_dead="worker = :worker"))


async def requeue_expired(database: Database) -> int:
    """Let others take them, counted as a crash; whoever takes one ends it if it crashed too often.

    Cost: one statement. Errors: StorageUnavailable.
    """
    async with database.statements() as connection:
        return len((await connection.execute(_EXPIRED, {"most": BATCH})).all())


async def requeue_left(database: Database, worker: str) -> int:
    """Do the same with the runs of a worker that is known to be dead, without waiting for their leases."""
    async with database.statements() as connection:
        return len((await connection.execute(_LEFT, {"most": BATCH, "worker": worker})).all())
