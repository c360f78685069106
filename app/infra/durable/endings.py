"""How a run ends: once, with what belongs to it, and with the next of its lane made ready, in one transaction.

Whoever ends a run (its worker, a canceller) does it here. The guard in the statement decides who was first. In the same
transaction a parent that waits goes on, and the children that are not over are told to stop.
"""

from collections.abc import Mapping

from sqlalchemy import TextClause, text

from app.infra.db.engine import session_of
from app.infra.durable import families, lanes
from app.infra.durable.families import Family
from app.infra.durable.limits import MAX_RESULT_BYTES
from app.infra.durable.ports import Ended, Handler, RunError, RunState
from app.infra.events.encoding import columns_of
from app.infra.events.ports import EventType, NewEvent
from app.infra.wire.json_text import written
from app.kernel.ids import RunId
from app.kernel.transaction import Tx
from app.kernel.values import Json

LAST_WORD = {
    RunState.COMPLETED: EventType.RUN_COMPLETED,
    RunState.FAILED: EventType.RUN_FAILED,
    RunState.INTERRUPTED: EventType.RUN_INTERRUPTED,
}

_END = """
UPDATE runs SET state = :state, result = CAST(:result AS json), error = CAST(:error AS json), finished_at = now(),
  worker = NULL, lease_until = NULL, wait_key = NULL, is_ready = false
WHERE id = :id AND {guard}
RETURNING cancel_reason"""
_END_OWN = text(_END.format(guard="epoch = :epoch AND state = 'running'"))
_END_IDLE = text(_END.format(guard="state IN ('queued', 'waiting')"))

_SAY_LAST = text("""
WITH counted AS (
  UPDATE runs SET event_seq = event_seq + cardinality(CAST(:types AS text[])) WHERE id = :id
  RETURNING id, event_seq, chat_id
), said AS (
  INSERT INTO run_events (run_id, seq, chat_id, type, data)
  SELECT counted.id, counted.event_seq - cardinality(CAST(:types AS text[])) + n, counted.chat_id, type,
    CAST(document AS json)
  FROM counted, unnest(CAST(:types AS text[]), CAST(:documents AS text[])) WITH ORDINALITY AS word(type, document, n)
), next AS (
  UPDATE runs SET is_ready = true
  WHERE state = 'queued' AND NOT is_ready AND id = (
    SELECT id FROM runs WHERE lane = CAST(:lane AS varchar) AND state IN ('queued', 'running', 'waiting')
    ORDER BY id LIMIT 1)
), stopped AS (
  UPDATE runs SET cancel_requested_at = coalesce(cancel_requested_at, now()),
    cancel_reason = coalesce(cancel_reason, 'the run that began it is over'),
    run_at = CASE state WHEN 'running' THEN run_at ELSE now() END, is_ready = is_ready OR state = 'waiting',
    state = CASE state WHEN 'waiting' THEN 'queued' ELSE state END
  WHERE parent_id = :id AND state IN ('queued', 'running', 'waiting')
  RETURNING id
)
SELECT id FROM stopped""")


async def end_own(tx: Tx, handler: Handler, ended: Ended) -> Family | None:
    """End a run that its worker runs; None where it is not the worker's any more."""
    return await _end(tx, _END_OWN, handler, ended, {"epoch": ended.job.epoch})


async def end_idle(tx: Tx, handler: Handler, ended: Ended, *, reason: str) -> Family | None:
    """End a run that nobody runs; None where somebody does by now, or it is over."""
    return await _end(tx, _END_IDLE, handler, ended, {}, reason=reason)


async def _end(
    tx: Tx, statement: TextClause, handler: Handler, ended: Ended, guard: Mapping[str, int], *, reason: str = ""
) -> Family | None:
    session, job = session_of(tx), ended.job
    if job.lane is not None:
        await lanes.lock(session, [lanes.of_lane(job.lane)])
    if job.parent_id is not None:
        await families.lock(session, job.parent_id)
    values = {
        "id": job.id,
        "state": ended.state.value,
        "result": _document(ended.result),
        "error": None if ended.error is None else _document(_error(ended.error)),
        **guard,
    }
    row = (await session.execute(statement, values)).first()
    if row is None:
        return None
    said = await handler.settle(tx, ended)
    words = [*said, NewEvent(LAST_WORD[ended.state], _last_word(ended, reason or row.cancel_reason or ""))]
    stopped = await session.execute(_SAY_LAST, {"id": job.id, "lane": job.lane, **columns_of(words)})
    woken = job.parent_id is not None and await families.wake(session, job.parent_id)
    return Family(job.parent_id if woken else None, [RunId(child.id) for child in stopped])


def _document(value: Json) -> str | None:
    return None if value is None else written(value, limit_bytes=MAX_RESULT_BYTES)


def _last_word(ended: Ended, reason: str) -> Mapping[str, Json]:
    if ended.error is not None:
        return {"error": _error(ended.error)}
    return {"reason": reason} if reason and ended.state is RunState.INTERRUPTED else {}


def _error(error: RunError) -> Mapping[str, Json]:
    return {"type": error.type, "detail": error.detail}
