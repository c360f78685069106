"""How a run leaves its worker without being over: to be tried again, to wait, or to be taken by another.

Each gives False where the run is not the worker's any more, or is to be cancelled, which the caller then does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.infra.db.engine import session_of
from app.infra.durable.families import read_ends
from app.infra.durable.ports import CHILDREN, Job
from app.infra.events.encoding import columns_of
from app.infra.events.ports import EventType, NewEvent
from app.kernel.ids import RunId
from app.kernel.transaction import Tx

_HAND_BACK = text("""
UPDATE runs SET state = 'queued', run_at = now(), worker = NULL, lease_until = NULL
WHERE id = :id AND epoch = :epoch AND state = 'running' RETURNING id""")
_CRASHED = text("""
UPDATE runs SET state = 'queued', crashes = crashes + 1, run_at = now() + make_interval(secs => :delay_s),
  worker = NULL, lease_until = NULL
WHERE id = :id AND epoch = :epoch AND state = 'running' RETURNING id""")
_SAY = """
WITH released AS (
  UPDATE runs SET {change}, worker = NULL, lease_until = NULL, event_seq = event_seq + 1
  WHERE id = :id AND epoch = :epoch AND state = 'running' AND cancel_requested_at IS NULL
  RETURNING id, event_seq, chat_id
), said AS (
  INSERT INTO run_events (run_id, seq, chat_id, type, data)
  SELECT released.id, released.event_seq, released.chat_id, word.type, CAST(word.document AS json)
  FROM released, unnest(CAST(:types AS text[]), CAST(:documents AS text[])) AS word(type, document)
)
SELECT id FROM released"""
_RETRY = text(
    _SAY.format(change="state = 'queued', failures = failures + 1, run_at = now() + make_interval(secs => :delay_s)")
)
_ANSWERED = text("SELECT true FROM run_signals WHERE run_id = :id AND key = :key")
_LOCK = text("""
SELECT true FROM runs
WHERE id = :id AND epoch = :epoch AND state = 'running' AND cancel_requested_at IS NULL FOR UPDATE""")
_WAIT = text(
    _SAY.format(
        change="state = 'waiting', wait_key = :key, is_ready = CAST(:until AS timestamptz) IS NOT NULL,"
        " run_at = coalesce(CAST(:until AS timestamptz), run_at)"
    )
)


@dataclass(frozen=True, slots=True)
class Wait:
    """What a run waits for, and until when at most; with `children`, for the ends of so many of them."""

    key: str
    until: datetime | None
    children: tuple[RunId, ...] = ()
    at_least: int = 0

    @classmethod
    def for_children(cls, children: Sequence[RunId], at_least: int, until: datetime | None = None) -> Self:
        return cls(CHILDREN, until, tuple(children), at_least)


async def hand_back(tx: Tx, job: Job) -> bool:
    """Let another worker go on at once; this was no attempt and no crash."""
    return await _done(tx, _HAND_BACK, job)


async def crashed(tx: Tx, job: Job, *, delay_s: float) -> bool:
    """Let a worker go on later, and count it as a crash."""
    return await _done(tx, _CRASHED, job, delay_s=delay_s)


async def retry(tx: Tx, job: Job, *, delay_s: float, of: int) -> bool:
    """Have it tried again after a pause; readers are told."""
    word = NewEvent(EventType.RUN_PROGRESS, {"status": "retrying", "attempt": job.attempt + 1, "of": of})
    return await _done(tx, _RETRY, job, delay_s=delay_s, **columns_of([word]))


async def wait(tx: Tx, job: Job, wait: Wait) -> bool:
    """Let the run wait without a worker, unless it was answered meanwhile."""
    session = session_of(tx)
    ours = {"id": job.id, "epoch": job.epoch}
    # whoever answers locks the row too: he is seen here, or sees that the run waits
    if (await session.execute(_LOCK, ours)).first() is None:
        return False
    if await _is_answered(session, job, wait):
        return await hand_back(tx, job)
    word = NewEvent(
        EventType.RUN_WAITING, {"for": wait.key, "until": None if wait.until is None else wait.until.isoformat()}
    )
    return await _done(tx, _WAIT, job, key=wait.key, until=wait.until, **columns_of([word]))


async def _is_answered(session: AsyncSession, job: Job, wait: Wait) -> bool:
    if wait.children:
        return len(await read_ends(session, job.id, wait.children)) >= wait.at_least
    return (await session.execute(_ANSWERED, {"id": job.id, "key": wait.key})).first() is not None


async def _done(tx: Tx, statement: object, job: Job, **values: object) -> bool:
    found = await session_of(tx).execute(statement, {"id": job.id, "epoch": job.epoch, **values})  # type: ignore[call-overload]
    return found.first() is not None
