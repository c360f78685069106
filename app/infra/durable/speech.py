"""How a run's events get their numbers: counted on in the run's row, in the statement that adds them.

Facts
- Whoever adds holds the row until the commit, so numbers have no gap and become visible in their order.
- The owner alone adds while a run is running, so it knows the last number; it looks up a write whose answer was lost
  before it tries again.
- Adding proves that the worker lives, so it renews the lease too.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import text

from app.infra.db.statements import Statements
from app.kernel.ids import RunId

_SAY = text("""
WITH counted AS (
  UPDATE runs SET event_seq = event_seq + cardinality(CAST(:types AS text[])),
    lease_until = greatest(lease_until, now() + make_interval(secs => :lease_s)),
    progress = coalesce(CAST(:progress AS json), progress)
  WHERE id = :id AND epoch = :epoch AND state = 'running' AND event_seq = :last
  RETURNING id, event_seq, chat_id
), said AS (
  INSERT INTO run_events (run_id, seq, chat_id, type, data)
  SELECT counted.id, counted.event_seq - cardinality(CAST(:types AS text[])) + n, counted.chat_id, type,
    CAST(document AS json)
  FROM counted, unnest(CAST(:types AS text[]), CAST(:documents AS text[])) WITH ORDINALITY AS word(type, document, n)
)
SELECT event_seq, now() AS at FROM counted""")
_LAST = text("SELECT event_seq FROM runs WHERE id = :id AND epoch = :epoch AND state = 'running'")


class Said(NamedTuple):
    """`last` is the number of the last event; `at` is all of theirs, unknown where the answer to the write was lost."""

    last: int
    at: datetime | None


async def say(
    connection: Statements, run_id: RunId, epoch: int, *, last: int, lease_s: float, **columns: Any
) -> Said | None:
    """Add events behind `last`; None where the run is another's or went on."""
    values: Mapping[str, Any] = {"id": run_id, "epoch": epoch, "last": last, "lease_s": lease_s, **columns}
    row = (await connection.execute(_SAY, values)).first()
    return None if row is None else Said(row.event_seq, row.at)


async def last_number(connection: Statements, run_id: RunId, epoch: int) -> int | None:
    """Tell the number of the last event; None where the run is another's."""
    found: int | None = (await connection.execute(_LAST, {"id": run_id, "epoch": epoch})).scalar_one_or_none()
    return found
