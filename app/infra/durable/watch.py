"""How the engine does, for metrics and health: what waits and for how long, and what went wrong on the way."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from sqlalchemy import text

from app.infra.db.engine import Database
from app.infra.durable.ownership import Tally
from app.infra.durable.ports import EngineNumbers, RunState
from app.infra.events.hub import EventHub
from app.infra.observability.health import NotWell
from app.infra.observability.metrics import Family, by_labels, counter, gauge, labels_of

LATE_S = 60
"""for so long no run that may be begun is left lying, unless there is no worker, or none that is free"""

_COUNT = text("""
SELECT state, count(*) AS runs,
  coalesce(max(extract(epoch FROM now() - run_at)) FILTER (WHERE state = 'queued' AND is_ready AND run_at <= now()), 0)
    AS oldest_s
FROM runs WHERE state IN ('queued', 'running', 'waiting') GROUP BY state""")


@dataclass(slots=True)
class EngineWatch:
    """Concurrency: one a process; `check` runs in the background, and what it found is what metrics tell."""

    database: Database
    hub: EventHub
    tally: Tally
    numbers: EngineNumbers = field(init=False, default_factory=EngineNumbers)

    async def check(self) -> str:
        """Look, and tell what waits. Errors: NotWell when nobody takes what is due; StorageUnavailable."""
        async with self.database.statements() as connection:
            rows = (await connection.execute(_COUNT)).all()
        by_state = dict.fromkeys((RunState.QUEUED, RunState.RUNNING, RunState.WAITING), 0)
        by_state |= {RunState(row.state): row.runs for row in rows}
        oldest_s = float(max((row.oldest_s for row in rows), default=0))
        self.numbers = EngineNumbers(by_state, oldest_s, self.tally.lease_expiries, self.tally.fenced_writes)
        words = ", ".join(f"{count} {state.value}" for state, count in by_state.items())
        if oldest_s > LATE_S:
            raise NotWell(f"{words}; one has been due for {oldest_s:.0f} s")
        return words

    def families(self) -> Iterable[Family]:
        """Measure; of runs every process tells the same, so the greatest number counts."""
        numbers = self.numbers
        runs = {labels_of(state=state.value): float(count) for state, count in numbers.by_state.items()}
        yield by_labels("portico_runs", "gauge", "Runs that are not over.", runs, merge="max")
        oldest = "How long the run that is due longest has waited for a worker."
        yield gauge("portico_runs_oldest_due_seconds", oldest, numbers.oldest_queued_s, merge="max")
        expiries = "Runs whose worker was silent for longer than its lease."
        yield counter("portico_run_lease_expiries_total", expiries, self.tally.lease_expiries)
        fenced = "Writes refused because the run was another worker's by then."
        yield counter("portico_run_fenced_writes_total", fenced, self.tally.fenced_writes)
        yield gauge("portico_runs_followed", "Runs whose events somebody follows.", self.hub.followed)
