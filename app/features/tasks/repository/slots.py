"""Slots of schedules in PostgreSQL: what is due, by the database's clock, and what was fired.

Facts
- A slot is fired once because `task_slots` has one row for it, whoever comes and whatever the clocks say. The row, the
  run and the time of the next slot are written in one transaction.
- Whoever fires holds the task's lane first and its row then, like whoever ends a run of it, and waits for neither: what
  somebody else has in hand is looked at again in a moment.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement, func, select, text, update

from app.features.tasks.domain.firing import HISTORY, Beside, Fired, Unfinished
from app.features.tasks.domain.timing import Timing
from app.features.tasks.ports import Due, Moved, Noted
from app.features.tasks.repository.tasks import shown, task_of
from app.features.tasks.tables import TASKS
from app.infra.db.engine import session_of
from app.infra.durable.ports import RunState
from app.kernel.ids import RunId, TaskId
from app.kernel.transaction import Tx

_T = TASKS.c
_IS_PLANNED = (_T.enabled, _T.deleted_at.is_(None), _T.next_run_at.is_not(None))

_UNFINISHED = text("""
SELECT task_id, id, cancel_requested_at IS NOT NULL AS is_cancelled FROM runs
WHERE lane = ANY(CAST(:lanes AS varchar[])) AND state IN ('queued', 'running', 'waiting') ORDER BY id""")

_FIRED = text("""
SELECT fired.task_id, fired.slot, fired.digest, runs.state
FROM unnest(CAST(:ids AS uuid[]), CAST(:since AS timestamptz[])) AS asked(id, since)
CROSS JOIN LATERAL (
  SELECT task_id, slot, digest, run_id FROM task_slots
  WHERE task_id = asked.id AND run_id IS NOT NULL AND slot >= asked.since ORDER BY slot DESC LIMIT :most
) AS fired JOIN runs ON runs.id = fired.run_id
ORDER BY fired.task_id, fired.slot DESC""")

_CLAIM = text("""
INSERT INTO task_slots (task_id, slot, outcome, digest)
SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:slots AS timestamptz[]), CAST(:outcomes AS varchar[]),
  CAST(:digests AS varchar[]))
ON CONFLICT (task_id, slot) DO NOTHING RETURNING task_id, slot""")

_NOTE = text("""
UPDATE task_slots SET run_id = noted.run_id
FROM unnest(CAST(:ids AS uuid[]), CAST(:slots AS timestamptz[]), CAST(:runs AS uuid[])) AS noted(task_id, slot, run_id)
WHERE task_slots.task_id = noted.task_id AND task_slots.slot = noted.slot""")

_MOVE = text("""
UPDATE tasks SET next_run_at = moved.next_run_at, enabled = moved.next_run_at IS NOT NULL
FROM unnest(CAST(:ids AS uuid[]), CAST(:moments AS timestamptz[])) AS moved(id, next_run_at)
WHERE tasks.id = moved.id""")

_FORGET = text("""
DELETE FROM task_slots WHERE (task_id, slot) IN (
  SELECT task_id, slot FROM task_slots WHERE at < now() - CAST(:age AS interval) ORDER BY at LIMIT :most
) RETURNING task_id""")


@dataclass(frozen=True, slots=True)
class PostgresSlotStore:
    """`clock` tells the time in a statement: by default when its transaction began, which is a moment ago."""

    clock: ColumnElement[datetime] = field(default_factory=func.now)

    async def now(self, tx: Tx) -> datetime:
        return (await session_of(tx).execute(select(self.clock))).scalar_one().astimezone(UTC)

    async def wait_s(self, tx: Tx) -> float | None:
        left = func.extract("epoch", func.min(_T.next_run_at) - self.clock)
        found = await session_of(tx).scalar(select(left).where(*_IS_PLANNED))
        return None if found is None else float(found)

    async def due(self, tx: Tx, *, at_most: int) -> Sequence[TaskId]:
        wanted = select(_T.id).where(*_IS_PLANNED, _T.next_run_at <= self.clock)
        found = await session_of(tx).scalars(wanted.order_by(_T.next_run_at).limit(at_most))
        return [TaskId(one) for one in found]

    async def hold(self, tx: Tx, ids: Sequence[TaskId]) -> Sequence[Due]:
        wanted = shown(self.clock.label("now")).where(_T.id.in_(ids), *_IS_PLANNED, _T.next_run_at <= self.clock)
        held = wanted.order_by(_T.next_run_at).with_for_update(skip_locked=True, of=TASKS)
        rows = await session_of(tx).execute(held)
        return [Due(task_of(row), row.next_run_at.astimezone(UTC), row.now.astimezone(UTC)) for row in rows]

    async def beside(
        self, tx: Tx, lanes: Mapping[TaskId, str], since: Mapping[TaskId, datetime]
    ) -> Mapping[TaskId, Beside]:
        session = session_of(tx)
        unfinished: dict[TaskId, list[Unfinished]] = {}
        for row in await session.execute(_UNFINISHED, {"lanes": list(lanes.values())}):
            unfinished.setdefault(TaskId(row.task_id), []).append(Unfinished(RunId(row.id), row.is_cancelled))
        fired: dict[TaskId, list[Fired]] = {}
        asked = {"ids": list(since), "since": list(since.values()), "most": HISTORY}
        for row in await session.execute(_FIRED, asked) if since else ():
            one = Fired(row.slot.astimezone(UTC), row.digest, RunState(row.state))
            fired.setdefault(TaskId(row.task_id), []).append(one)
        return {one: Beside(unfinished.get(one, ()), fired.get(one, ())) for one in lanes}

    async def plan(self, tx: Tx, task_id: TaskId, timing: Timing) -> None:
        schedule = None if timing.schedule is None else dict(timing.schedule)
        values = {"schedule": schedule, "next_run_at": timing.next_run_at, "updated_at": _T.updated_at}
        await session_of(tx).execute(update(TASKS).where(_T.id == task_id).values(values))

    async def claim(self, tx: Tx, slots: Sequence[Noted]) -> frozenset[tuple[TaskId, datetime]]:
        if not slots:
            return frozenset()
        values = {
            "ids": [one.task_id for one in slots],
            "slots": [one.slot.at for one in slots],
            "outcomes": [one.slot.outcome.value for one in slots],
            "digests": [one.digest for one in slots],
        }
        rows = await session_of(tx).execute(_CLAIM, values)
        return frozenset((TaskId(row.task_id), row.slot.astimezone(UTC)) for row in rows)

    async def note_runs(self, tx: Tx, slots: Sequence[Noted], runs: Sequence[RunId]) -> None:
        if not runs:
            return
        values = {
            "ids": [one.task_id for one in slots],
            "slots": [one.slot.at for one in slots],
            "runs": list(runs),
        }
        await session_of(tx).execute(_NOTE, values)

    async def move(self, tx: Tx, moves: Sequence[Moved]) -> None:
        if not moves:
            return
        values = {"ids": [one.task_id for one in moves], "moments": [one.next_run_at for one in moves]}
        await session_of(tx).execute(_MOVE, values)

    async def forget(self, tx: Tx, *, older_than: timedelta, at_most: int) -> int:
        found = await session_of(tx).execute(_FORGET, {"age": older_than, "most": at_most})
        return len(found.all())
