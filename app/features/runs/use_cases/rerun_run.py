"""Begin again what is over."""

from dataclasses import dataclass

from app.features.runs.domain import Run
from app.features.runs.ports import RunStore
from app.features.runs.use_cases.access import open_run
from app.infra.durable.ports import Engine
from app.kernel.identity import Principal
from app.kernel.ids import RunId
from app.kernel.transaction import Begin


@dataclass(frozen=True, slots=True)
class RerunRun:
    """Ask the same again, as a new run of the same owner with the rights the first one had.

    In a chat it waits for its turn like any other run. Errors: RunNotFound, RunNotOver.
    """

    begin: Begin
    runs: RunStore
    engine: Engine

    async def __call__(self, who: Principal, run_id: RunId) -> Run:
        await open_run(self.begin, self.runs, who, run_id)
        again = await self.engine.rerun(run_id)
        await self.engine.dispatch(again)
        return await open_run(self.begin, self.runs, who, again)
