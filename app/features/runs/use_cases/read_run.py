"""Read a run."""

from dataclasses import dataclass

from app.features.runs.domain import Run
from app.features.runs.ports import RunStore
from app.features.runs.use_cases.access import open_run
from app.kernel.identity import Principal
from app.kernel.ids import RunId
from app.kernel.transaction import Begin


@dataclass(frozen=True, slots=True)
class ReadRun:
    """Errors: RunNotFound."""

    begin: Begin
    runs: RunStore

    async def __call__(self, who: Principal, run_id: RunId) -> Run:
        return await open_run(self.begin, self.runs, who, run_id)
