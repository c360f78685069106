"""What is let go of when a run has been over for long: its events, steps and answers. The run itself stays, unless it
is a task's and who operates the program has them deleted.

The last event stays too, so that whoever follows such a run is told that it is over.
"""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import TextClause, text

from app.infra.db.engine import Database

BATCH_RUNS = 50
"""a run may have thousands of events, and a statement five seconds"""

_FORGET = text("""
WITH old AS (
  SELECT id, event_seq FROM runs WHERE finished_at < now() - CAST(:age AS interval) AND forgotten_at IS NULL
  ORDER BY finished_at LIMIT :batch FOR UPDATE SKIP LOCKED
), marked AS (
  UPDATE runs SET forgotten_at = now() FROM old WHERE runs.id = old.id RETURNING runs.id
), events AS (
  DELETE FROM run_events USING old WHERE run_id = old.id AND seq < old.event_seq RETURNING run_id
), steps AS (
  DELETE FROM run_steps USING old WHERE run_id = old.id RETURNING run_id
), signals AS (
  DELETE FROM run_signals USING old WHERE run_id = old.id RETURNING run_id
)
SELECT (SELECT count(*) FROM marked) AS runs, (SELECT count(*) FROM events) AS events,
  (SELECT count(*) FROM steps) AS steps, (SELECT count(*) FROM signals) AS signals""")

_COUNT = text("""
WITH old AS (
  SELECT id, event_seq FROM runs WHERE finished_at < now() - CAST(:age AS interval) AND forgotten_at IS NULL
)
SELECT (SELECT count(*) FROM old) AS runs,
  (SELECT count(*) FROM run_events JOIN old ON run_id = old.id AND seq < old.event_seq) AS events,
  (SELECT count(*) FROM run_steps JOIN old ON run_id = old.id) AS steps,
  (SELECT count(*) FROM run_signals JOIN old ON run_id = old.id) AS signals""")

# the newest of a task stays, and the newest that was completed, which is what its report is read from
_IS_OLD_OF_TASKS = """
task_id IS NOT NULL AND parent_id IS NULL AND finished_at < now() - CAST(:age AS interval) AND EXISTS (
  SELECT FROM runs AS later WHERE later.task_id = runs.task_id AND later.parent_id IS NULL AND later.id > runs.id
    AND (runs.state <> 'completed' OR later.state = 'completed'))"""
_THEIRS = """
WITH RECURSIVE old AS (
  SELECT id FROM runs WHERE {is_old} ORDER BY finished_at LIMIT :batch FOR UPDATE SKIP LOCKED
), family AS (
  SELECT id FROM old UNION ALL SELECT runs.id FROM runs JOIN family ON runs.parent_id = family.id
), gone AS (
  DELETE FROM runs USING family WHERE runs.id = family.id RETURNING runs.parent_id
)
SELECT count(*) FILTER (WHERE parent_id IS NULL) FROM gone"""
_THEIR_NUMBER = "SELECT count(*) FROM runs WHERE {is_old}"
_FORGET_OF_TASKS = text(_THEIRS.format(is_old=_IS_OLD_OF_TASKS))
_COUNT_OF_TASKS = text(_THEIR_NUMBER.format(is_old=_IS_OLD_OF_TASKS))


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How much was let go of, or would be; `runs` are those it belonged to."""

    runs: int = 0
    events: int = 0
    steps: int = 0
    signals: int = 0

    def __add__(self, other: "Forgotten") -> "Forgotten":
        return Forgotten(
            self.runs + other.runs,
            self.events + other.events,
            self.steps + other.steps,
            self.signals + other.signals,
        )


async def count_forgettable(database: Database, *, older_than: timedelta) -> Forgotten:
    """Tell what `forget` would let go of. Errors: StorageUnavailable."""
    return await _run(database, _COUNT, {"age": older_than})


async def forget(database: Database, *, older_than: timedelta) -> Forgotten:
    """Let go of what belongs to runs that were over for so long, some at a time. Errors: StorageUnavailable.

    Concurrency: any number may; each takes other runs. One that was interrupted goes on where it was.
    """
    found = Forgotten()
    while True:
        part = await _run(database, _FORGET, {"age": older_than, "batch": BATCH_RUNS})
        found += part
        if part.runs < BATCH_RUNS:
            return found


async def _run(database: Database, statement: TextClause, values: dict[str, object]) -> Forgotten:
    async with database.statements() as connection:
        row = (await connection.execute(statement, values)).one()
    return Forgotten(row.runs, row.events, row.steps, row.signals)


async def count_runs_of_tasks(database: Database, *, older_than: timedelta) -> int:
    """Tell how many `forget_runs_of_tasks` would delete. Errors: StorageUnavailable."""
    async with database.statements() as connection:
        found: int = (await connection.execute(_COUNT_OF_TASKS, {"age": older_than})).scalar_one()
    return found


async def forget_runs_of_tasks(database: Database, *, older_than: timedelta) -> int:
    """Delete runs of tasks that were over for so long, with those that they began, some at a time.

    Of each task its newest run stays, and the newest that was completed. Errors: StorageUnavailable.
    Concurrency: any number may; each takes other runs.
    """
    found = 0
    while True:
        async with database.statements() as connection:
            part: int = (
                await connection.execute(_FORGET_OF_TASKS, {"age": older_than, "batch": BATCH_RUNS})
            ).scalar_one()
        found += part
        if part < BATCH_RUNS:
            return found
