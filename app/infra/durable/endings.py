"""How a run ends: once, with what belongs to it, and with the next of its lane made ready, in one transaction.

Whoever ends a run (its worker, a canceller) does it here. The guard in the statement decides who was first.
"""

from collections.abc import Mapping

from sqlalchemy import TextClause, text

from app.infra.db.engine import session_of
from app.infra.durable import lanes
from app.infra.durable.limits import MAX_RESULT_BYTES
from app.infra.durable.ports import Ended, Handler, RunError, RunState
from app.infra.events.encoding import columns_of
from app.infra.events.ports import EventType, NewEvent
from app.infra.wire.json_text import written
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
  RETURNING id
)
SELECT count(*) FROM next""")


async def end_own(tx: Tx, handler: Handler, ended: Ended) -> bool:
    """End a run that its worker runs; False where it is not the worker's any more."""
    return await _end(tx, _END_OWN, handler, ended, {"epoch": ended.job.epoch})


async def end_idle(tx: Tx, handler: Handler, ended: Ended, *, reason: str) -> bool:
    """End a run that nobody runs; False where somebody does by now, or it is over."""
    return await _end(tx, _END_IDLE, handler, ended, {}, reason=reason)


async def _end(
    tx: Tx, statement: TextClause, handler: Handler, ended: Ended, guard: Mapping[str, int], *, reason: str = ""
) -> bool:
    session, job = session_of(tx), ended.job
    if job.lane is not None:
        await lanes.lock(session, [lanes.of_lane(job.lane)])
    values = {
        "id": job.id,
        "state": ended.state.value,
        "result": _document(ended.result),
        "error": None if ended.error is None else _document(_error(ended.error)),
        **guard,
    }
    row = (await session.execute(statement, values)).first()
    if row is None:
        return False
    said = await handler.settle(tx, ended)
    words = [*said, NewEvent(LAST_WORD[ended.state], _last_word(ended, reason or row.cancel_reason or ""))]
    await session.execute(_SAY_LAST, {"id": job.id, "lane": job.lane, **columns_of(words)})
    return True


def _document(value: Json) -> str | None:
    return None if value is None else written(value, limit_bytes=MAX_RESULT_BYTES)


def _last_word(ended: Ended, reason: str) -> Mapping[str, Json]:
    if ended.error is not None:
        return {"error": _error(ended.error)}
    return {"reason": reason} if reason and ended.state is RunState.INTERRUPTED else {}


def _error(error: RunError) -> Mapping[str, Json]:
    return {"type": error.type, "detail": error.detail}
