"""Read a run."""

from dataclasses import dataclass, replace

from app.features.runs.domain.run import Run
from app.features.runs.ports import RunStore
from app.features.runs.use_cases.access import open_run
from app.features.runs.use_cases.read_answer import read_answer
from app.kernel.identity import Principal
from app.kernel.ids import RunId
from app.kernel.transaction import Begin


@dataclass(frozen=True, slots=True)
class ReadRun:
    """Give a run; of one outside of a chat that did not complete, with as much as it had answered.

    Errors: RunNotFound.
    """

    begin: Begin
    runs: RunStore

    async def __call__(self, who: Principal, run_id: RunId) -> Run:
        run = await open_run(self.begin, self.runs, who, run_id)
        if run.chat_id is not None or run.answer is not None or not run.status.is_final:
            return run
        async with self.begin() as tx:
            answer = await read_answer(self.runs, tx, run_id)
        return replace(run, answer=answer or None)
