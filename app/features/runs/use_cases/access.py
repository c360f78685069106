"""Who may see or stop a run. Another person's is not found, exactly like one that does not exist."""

from app.features.runs.domain.run import Run, may_touch
from app.features.runs.ports import RunStore
from app.infra.durable.ports import RunNotFound
from app.kernel.identity import Principal
from app.kernel.ids import RunId
from app.kernel.transaction import Begin


async def open_run(begin: Begin, runs: RunStore, who: Principal, run_id: RunId) -> Run:
    """Errors: RunNotFound."""
    async with begin() as tx:
        run = await runs.find(tx, run_id)
    if run is None or not may_touch(who, run):
        raise RunNotFound
    return run
