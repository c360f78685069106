"""What is let go of when a run has been over for long: its events, steps and answers. The run itself stays.

The last event stays too, so that whoever follows such a run is told that it is over.
"""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import text

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


async def _run(database: Database, statement: object, values: dict[str, object]) -> Forgotten:
    async with database.statements() as connection:
        row = (await connection.execute(statement, values)).one()  # type: ignore[call-overload] # one of the two above
    return Forgotten(row.runs, row.events, row.steps, row.signals)
