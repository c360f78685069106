"""How a worker takes runs: those that may be begun, each by one worker, in one statement."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text

from app.infra.db.engine import Database
from app.infra.durable.options import WorkerOptions
from app.infra.durable.ports import Job
from app.infra.durable.rows import job_of

_CLAIM = text("""
WITH due AS (
  SELECT id, (started_at IS NULL OR wait_key IS NOT NULL) AND cancel_requested_at IS NULL AND crashes < :max_crashes
    AS is_news
  FROM runs
  WHERE is_ready AND state IN ('queued', 'waiting') AND run_at <= now() AND kind = ANY(CAST(:kinds AS text[]))
  ORDER BY priority, run_at, id
  LIMIT :free FOR UPDATE SKIP LOCKED
), taken AS (
  UPDATE runs SET state = 'running', worker = :worker, epoch = epoch + 1, wait_key = NULL,
    lease_until = now() + make_interval(secs => :lease_s), started_at = coalesce(started_at, now()),
    code_version = coalesce(code_version, :version), event_seq = event_seq + CAST(due.is_news AS integer)
  FROM due WHERE runs.id = due.id
  RETURNING runs.*, due.is_news
), said AS (
  INSERT INTO run_events (run_id, seq, chat_id, type, data)
  SELECT id, event_seq, chat_id, 'run_started', '{}' FROM taken WHERE is_news
)
SELECT id, kind, owner, trigger, input, lane, chat_id, agent, task_id, parent_id, failures, epoch, code_version,
  max_attempts, crashes, event_seq, cancel_reason, cancel_requested_at IS NOT NULL AS is_cancelled, is_news, now() AS at
FROM taken ORDER BY priority, run_at, id""")


@dataclass(frozen=True, slots=True)
class Claimed:
    """A run that is ours for now, since `at`; `seq` is the number of the last event."""

    job: Job
    max_attempts: int
    crashes: int
    seq: int
    is_cancelled: bool
    cancel_reason: str
    is_news: bool
    at: datetime


async def claim(database: Database, kinds: Sequence[str], options: WorkerOptions, *, free: int) -> Sequence[Claimed]:
    """Take up to `free` runs. Cost: one statement. Errors: StorageUnavailable."""
    values = {
        "kinds": list(kinds),
        "free": free,
        "worker": options.name,
        "lease_s": options.lease_s,
        "version": options.version,
        "max_crashes": options.max_crashes,
    }
    async with database.statements() as connection:
        rows = (await connection.execute(_CLAIM, values)).all()
    return [_claimed(row) for row in rows]


def _claimed(row: Row[Any]) -> Claimed:  # Any: the columns, which have no type of their own
    return Claimed(
        job=job_of(row, version=row.code_version),
        max_attempts=row.max_attempts,
        crashes=row.crashes,
        seq=row.event_seq,
        is_cancelled=row.is_cancelled,
        cancel_reason=row.cancel_reason or "",
        is_news=row.is_news,
        at=row.at,
    )
