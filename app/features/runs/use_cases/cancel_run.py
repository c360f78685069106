"""Stop a run."""

import asyncio
from contextlib import aclosing
from dataclasses import dataclass

from app.features.runs.domain.run import Run
from app.features.runs.ports import RunStore
from app.features.runs.use_cases.access import open_run
from app.infra.durable.ports import Engine
from app.infra.events.ports import LAST_WORDS, EventLog
from app.kernel.audit import AuditTrail, record_on_others
from app.kernel.identity import Principal
from app.kernel.ids import RunId
from app.kernel.transaction import Begin, Tx

SETTLING_S = 2.0


@dataclass(frozen=True, slots=True)
class CancelRun:
    """Stop a run and tell how it ended; one that is over stays what it is. What it said until then is kept.

    Waits a moment for the worker to let go, so that the run that is given is over, unless the worker hangs.

    Errors: RunNotFound.
    """

    begin: Begin
    runs: RunStore
    engine: Engine
    log: EventLog
    audit: AuditTrail
    settling_s: float = SETTLING_S

    async def __call__(self, who: Principal, run_id: RunId, *, reason: str = "cancelled by its owner") -> Run:
        run = await open_run(self.begin, self.runs, who, run_id)
        if run.status.is_final:
            return run

        async def note(tx: Tx) -> None:
            await record_on_others(self.audit, tx, who, "run.cancelled", run_id, owner=run.owner)

        state = await self.engine.cancel(run_id, reason=reason, noting=note)
        if not state.is_final:
            await self._until_over(run_id)
        return await open_run(self.begin, self.runs, who, run_id)

    async def _until_over(self, run_id: RunId) -> None:
        try:
            async with asyncio.timeout(self.settling_s), aclosing(self.log.follow(run_id)) as events:
                async for event in events:
                    if event.type in LAST_WORDS:
                        return
        except TimeoutError:
            return
