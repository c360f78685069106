"""Read what a run has said up to now."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.features.runs.ports import RunStore
from app.features.runs.use_cases.access import open_run
from app.infra.events.ports import EventLog, RunEvent
from app.kernel.identity import Principal
from app.kernel.ids import RunId
from app.kernel.transaction import Begin


@dataclass(frozen=True, slots=True)
class EventStretch:
    """A stretch of a run's events; `next` is where to go on reading, None when nothing is left for now."""

    items: Sequence[RunEvent]
    next: int | None


@dataclass(frozen=True, slots=True)
class ReadEvents:
    """Errors: RunNotFound."""

    begin: Begin
    runs: RunStore
    log: EventLog

    async def __call__(self, who: Principal, run_id: RunId, *, after: int, limit: int) -> EventStretch:
        await open_run(self.begin, self.runs, who, run_id)
        found = await self.log.read(run_id, after=after, limit=limit + 1)
        items = found[:limit]
        return EventStretch(items, items[-1].seq if len(found) > limit else None)
