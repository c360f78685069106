"""Follow what a run says."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from app.features.runs.ports import RunStore
from app.features.runs.use_cases.access import open_run
from app.infra.events.ports import EventLog, RunEvent
from app.kernel.identity import Principal
from app.kernel.ids import RunId
from app.kernel.transaction import Begin


@dataclass(frozen=True, slots=True)
class FollowRun:
    """Give a run's events behind `after`: those there are, then those that come, and end with its last word.

    None where the run is over and its last word lies before that.
    Errors: RunNotFound; from the events what `EventLog.follow` raises.
    """

    begin: Begin
    runs: RunStore
    log: EventLog

    async def __call__(self, who: Principal, run_id: RunId, *, after: int = 0) -> AsyncGenerator[RunEvent] | None:
        run = await open_run(self.begin, self.runs, who, run_id)
        if run.status.is_final and not await self.log.read(run_id, after=after, limit=1):
            return None
        return self.log.follow(run_id, after=after)
