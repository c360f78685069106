"""The log from which a run goes on: its finished steps, and what it was answered. Every write is fenced.

Facts
- `FOR SHARE` on the run's row waits for whoever takes the run over at the same moment, and makes him wait for us
  (PostgreSQL documentation, "Row-Level Locks"): a step is written by the owner or not at all.
- A write whose answer was lost may have been done. Each is written so that doing it again finds that out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from sqlalchemy import text

from app.infra.db.statements import Statements
from app.infra.durable.limits import MAX_STEP_BYTES, MAX_STEPS
from app.infra.wire.json_text import written
from app.kernel.ids import RunId
from app.kernel.values import Json

_NAMES = text("SELECT name, is_done FROM run_steps WHERE run_id = :id ORDER BY number LIMIT :most")
_RESULT = text("SELECT result FROM run_steps WHERE run_id = :id AND name = :name AND is_done")
_FINISH = text("""
INSERT INTO run_steps (run_id, name, number, epoch, is_done, result)
SELECT id, step.name, step.number, :epoch, true, CAST(step.result AS json)
FROM runs, unnest(CAST(:names AS text[]), CAST(:numbers AS integer[]), CAST(:results AS text[]))
  AS step (name, number, result)
WHERE id = :id AND epoch = :epoch AND state = 'running' FOR SHARE OF runs
ON CONFLICT (run_id, name) DO UPDATE SET is_done = true, result = excluded.result, at = now()
  WHERE run_steps.epoch = excluded.epoch
RETURNING name""")
_INTEND = text("""
INSERT INTO run_steps (run_id, name, number, epoch, is_done)
SELECT id, :name, :number, :epoch, false FROM runs
WHERE id = :id AND epoch = :epoch AND state = 'running' FOR SHARE
ON CONFLICT (run_id, name) DO UPDATE SET at = now()
  WHERE run_steps.epoch = excluded.epoch AND NOT run_steps.is_done
RETURNING name""")
_WITHDRAW = text("DELETE FROM run_steps WHERE run_id = :id AND name = :name AND epoch = :epoch AND NOT is_done")
_OWNS = text("SELECT true FROM runs WHERE id = :id AND epoch = :epoch AND state = 'running'")

_ANSWER = text("SELECT payload, is_timeout FROM run_signals WHERE run_id = :id AND key = :key")
_GIVE_UP = text("""
INSERT INTO run_signals (run_id, key, is_timeout)
SELECT id, :key, true FROM runs
WHERE id = :id AND epoch = :epoch AND state = 'running' AND CAST(:until AS timestamptz) <= now() FOR SHARE
ON CONFLICT (run_id, key) DO NOTHING
RETURNING key""")


@dataclass(frozen=True, slots=True)
class Recorded:
    """A step that an earlier worker wrote down."""

    name: str
    is_done: bool


@dataclass(frozen=True, slots=True)
class Finished:
    """A step that is to be written down; `result` is its JSON."""

    name: str
    number: int
    result: str


@dataclass(frozen=True, slots=True)
class Answer:
    payload: Json


async def read_names(connection: Statements, run_id: RunId) -> Sequence[Recorded]:
    rows = await connection.execute(_NAMES, {"id": run_id, "most": MAX_STEPS})
    return [Recorded(row.name, row.is_done) for row in rows]


async def read_result(connection: Statements, run_id: RunId, name: str) -> Json:
    found = (await connection.execute(_RESULT, {"id": run_id, "name": name})).scalar_one()
    return cast("Json", found)


def step_text(result: Json) -> str:
    """Errors: JsonTooLarge; ValueError, TypeError for what is no JSON."""
    return written(result, limit_bytes=MAX_STEP_BYTES)


async def finish(connection: Statements, run_id: RunId, epoch: int, steps: Sequence[Finished]) -> bool:
    """Write steps down, all or none; False where the run is another's."""
    values = {
        "id": run_id,
        "epoch": epoch,
        "names": [step.name for step in steps],
        "numbers": [step.number for step in steps],
        "results": [step.result for step in steps],
    }
    return (await connection.execute(_FINISH, values)).first() is not None


async def intend(connection: Statements, run_id: RunId, epoch: int, name: str, number: int) -> bool:
    """Write down that a step is about to be done; False where the run is another's."""
    values = {"id": run_id, "epoch": epoch, "name": name, "number": number}
    return (await connection.execute(_INTEND, values)).first() is not None


async def withdraw(connection: Statements, run_id: RunId, epoch: int, name: str) -> None:
    """Take back an intent: the step reported that it failed."""
    await connection.execute(_WITHDRAW, {"id": run_id, "epoch": epoch, "name": name})


async def owns(connection: Statements, run_id: RunId, epoch: int) -> bool:
    return (await connection.execute(_OWNS, {"id": run_id, "epoch": epoch})).first() is not None


async def answer(connection: Statements, run_id: RunId, key: str) -> Answer | None:
    row = (await connection.execute(_ANSWER, {"id": run_id, "key": key})).first()
    return None if row is None else Answer(None if row.is_timeout else cast("Json", row.payload))


async def give_up(connection: Statements, run_id: RunId, epoch: int, key: str, until: datetime) -> bool:
    """Write down that nobody answered in time, if the time is over."""
    values = {"id": run_id, "epoch": epoch, "key": key, "until": until}
    return (await connection.execute(_GIVE_UP, values)).first() is not None
