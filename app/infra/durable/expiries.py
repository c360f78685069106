"""How the runs of a dead worker are found: their leases have run out. Any worker looks."""

from sqlalchemy import text

from app.infra.db.engine import Database

BATCH = 100

_REQUEUE = text("""
WITH dead AS (
  SELECT id FROM runs WHERE state = 'running' AND lease_until < now() LIMIT :most FOR UPDATE SKIP LOCKED
)
UPDATE runs SET state = 'queued', is_ready = true, crashes = crashes + 1, worker = NULL, lease_until = NULL,
  run_at = now() + make_interval(secs => CASE crashes WHEN 0 THEN 0 ELSE least(60, 2 ^ least(crashes, 6)) END)
FROM dead WHERE runs.id = dead.id RETURNING runs.id""")


async def requeue_expired(database: Database) -> int:
    """Let others take them, counted as a crash; whoever takes one ends it if it crashed too often.

    Cost: one statement. Errors: StorageUnavailable.
    """
    async with database.statements() as connection:
        return len((await connection.execute(_REQUEUE, {"most": BATCH})).all())
