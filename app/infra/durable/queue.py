"""How a run is committed: one row, at the end of its lane, and its first event."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.infra.db.engine import session_of
from app.infra.durable import lanes
from app.infra.durable.limits import MAX_INPUT_BYTES, MAX_SIGNAL_BYTES
from app.infra.durable.ports import NewRun, Place, RunNotFound, RunState
from app.infra.wire.json_text import written
from app.kernel.ids import ChatId, RunId, new_run_id
from app.kernel.transaction import Tx
from app.kernel.values import Json

_TAKEN = "place of a run"
"""in a session's `info`: the last place that was taken with its transaction, so that it is not looked for twice"""

_NEWEST = text("""
SELECT
  (SELECT id FROM runs WHERE lane = CAST(:lane AS varchar) AND state IN ('queued', 'running', 'waiting')
    ORDER BY id DESC LIMIT 1) AS ahead,
  (SELECT id FROM runs WHERE chat_id = CAST(:chat_id AS bigint) ORDER BY id DESC LIMIT 1) AS latest""")

_PUT = text("""
WITH made AS (
  INSERT INTO runs (id, kind, owner, trigger, agent, chat_id, task_id, parent_id, rerun_of, input, on_disconnect, lane,
                    priority, scheduled_for, max_attempts, dedupe, state, run_at, event_seq, is_ready)
  VALUES (:id, :kind, :owner, :trigger, :agent, :chat_id, :task_id, :parent_id, :rerun_of, CAST(:input AS json),
          :on_disconnect, CAST(:lane AS varchar), :priority, CAST(:scheduled_for AS timestamptz), :max_attempts,
          :dedupe, 'queued', coalesce(CAST(:scheduled_for AS timestamptz), now()), 1,
          CAST(:lane AS varchar) IS NULL OR NOT EXISTS (
            SELECT FROM runs WHERE lane = CAST(:lane AS varchar) AND state IN ('queued', 'running', 'waiting')))
  ON CONFLICT (dedupe) WHERE dedupe IS NOT NULL DO NOTHING
  RETURNING id, chat_id
), said AS (
  INSERT INTO run_events (run_id, seq, chat_id, type, data) SELECT id, 1, chat_id, 'run_queued', '{}' FROM made
)
SELECT id FROM made""")

_NEWEST_OF_MANY = text("""
SELECT max(newest) AS newest FROM (
  SELECT (SELECT id::text FROM runs WHERE lane = word AND state IN ('queued', 'running', 'waiting')
    ORDER BY id DESC LIMIT 1) AS newest
  FROM unnest(CAST(:lanes AS varchar[])) AS w(word)
  UNION ALL
  SELECT (SELECT id::text FROM runs WHERE chat_id = chat ORDER BY id DESC LIMIT 1)
  FROM unnest(CAST(:chats AS bigint[])) AS c(chat)) AS known""")  # as text, which sorts alike and has a max()

_MADE = text("SELECT id, dedupe FROM runs WHERE dedupe = ANY(CAST(:words AS varchar[]))")

_KNOWN = text("SELECT id FROM runs WHERE dedupe = :dedupe")

# locked first: a run that begins to wait at this moment sees the answer, or is seen waiting
_LOCK = text("SELECT state FROM runs WHERE id = :id FOR UPDATE")
_ANSWER = text("""
INSERT INTO run_signals (run_id, key, payload) VALUES (:id, :key, CAST(:payload AS json))
ON CONFLICT (run_id, key) DO NOTHING RETURNING key""")
_WAKE = text("""
UPDATE runs SET state = 'queued', is_ready = true, run_at = now()
WHERE id = :id AND state = 'waiting' AND wait_key = :key""")


class PostgresRunQueue:
    async def take_place(self, tx: Tx, *, lane: str, chat_id: ChatId | None = None) -> Place:
        session = session_of(tx)
        place = await _place(session, new_run_id(), lane, chat_id)
        session.info[_TAKEN] = (lane, chat_id, place.run_id)
        return place

    async def take_free(self, tx: Tx, wanted: Sequence[str], *, at_most: int) -> Sequence[str]:
        words = [lanes.of_lane(lane) for lane in wanted]
        taken = await lanes.lock_free(session_of(tx), words, at_most=at_most)
        return [lane for lane, word in zip(wanted, words, strict=True) if word in taken]

    async def put(self, tx: Tx, run: NewRun) -> RunId:
        session = session_of(tx)
        values = _values(run)
        if session.info.pop(_TAKEN, None) == (run.lane, run.chat_id, run.id):
            values["id"] = run.id
        else:
            values["id"] = (await _place(session, run.id, run.lane, run.chat_id)).run_id
        made = (await session.execute(_PUT, values)).scalar_one_or_none()
        if made is None:
            made = (await session.execute(_KNOWN, {"dedupe": run.dedupe})).scalar_one()
        return RunId(made)

    async def put_many(self, tx: Tx, runs: Sequence[NewRun]) -> Sequence[RunId]:
        if not runs:
            return []
        session = session_of(tx)
        ids = await _places(session, runs)
        await session.execute(_PUT, [{**_values(run), "id": id_} for run, id_ in zip(runs, ids, strict=True)])
        words = [run.dedupe for run in runs if run.dedupe is not None]
        rows = await session.execute(_MADE, {"words": words}) if words else ()
        made = {row.dedupe: row.id for row in rows}
        return [RunId(id_ if run.dedupe is None else made[run.dedupe]) for run, id_ in zip(runs, ids, strict=True)]

    async def signal(self, tx: Tx, run_id: RunId, key: str, payload: Json) -> bool:
        session = session_of(tx)
        state = (await session.execute(_LOCK, {"id": run_id})).scalar_one_or_none()
        if state is None:
            raise RunNotFound
        if RunState(state).is_final:
            return False
        values = {"id": run_id, "key": key, "payload": written(payload, limit_bytes=MAX_SIGNAL_BYTES)}
        if (await session.execute(_ANSWER, values)).first() is None:
            return False
        await session.execute(_WAKE, {"id": run_id, "key": key})
        return True


async def _place(session: AsyncSession, run_id: RunId, lane: str | None, chat_id: ChatId | None) -> Place:
    """Take the lane's and the chat's end; the id to have there sorts behind all others."""
    words = [lanes.of_lane(lane)] if lane is not None else []
    words += [lanes.of_chat(chat_id)] if chat_id is not None else []
    if not words:
        return Place(run_id, is_free=True)
    await lanes.lock(session, words)
    ahead, latest = (await session.execute(_NEWEST, {"lane": lane, "chat_id": chat_id})).one()
    newest = max((one for one in (ahead, latest) if one is not None), default=None)
    named = run_id if newest is None or run_id > newest else new_run_id(after=RunId(newest))
    return Place(named, is_free=ahead is None)


async def _places(session: AsyncSession, runs: Sequence[NewRun]) -> Sequence[UUID]:
    """Take every lane's and chat's end; tell the ids to have there, in the order of the runs."""
    lanes_, chats = {run.lane for run in runs if run.lane}, {run.chat_id for run in runs if run.chat_id is not None}
    words = [lanes.of_lane(lane) for lane in lanes_] + [lanes.of_chat(chat_id) for chat_id in chats]
    if not words:
        return [run.id for run in runs]
    await lanes.lock(session, words)
    known = {"lanes": list(lanes_), "chats": list(chats)}
    newest: str | None = (await session.execute(_NEWEST_OF_MANY, known)).scalar_one()
    last = None if newest is None else RunId(UUID(newest))
    places: list[RunId] = []
    for run in runs:
        last = run.id if last is None or run.id > last else new_run_id(after=last)
        places.append(last)
    return places


def _values(run: NewRun) -> dict[str, Any]:  # Any: of every column its own type
    return {
        "kind": run.kind,
        "owner": run.owner,
        "trigger": run.trigger,
        "agent": run.agent,
        "chat_id": run.chat_id,
        "task_id": run.task_id,
        "parent_id": run.parent_id,
        "rerun_of": run.rerun_of,
        "input": written(run.input, limit_bytes=MAX_INPUT_BYTES),
        "on_disconnect": run.on_disconnect,
        "lane": run.lane,
        "priority": run.priority,
        "scheduled_for": run.scheduled_for,
        "max_attempts": run.max_attempts,
        "dedupe": run.dedupe,
    }
