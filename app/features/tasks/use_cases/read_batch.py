"""Tell how the tasks of a batch stand."""

from dataclasses import dataclass
from uuid import UUID

from app.features.runs.ports import RunStore
from app.features.tasks.domain.batch import Batch
from app.features.tasks.ports import TaskStore
from app.features.tasks.use_cases.access import open_batch
from app.kernel.identity import Principal
from app.kernel.transaction import Begin


@dataclass(frozen=True, slots=True)
class ReadBatch:
    """Errors: BatchNotFound."""

    begin: Begin
    tasks: TaskStore
    runs: RunStore

    async def __call__(self, who: Principal, batch_id: UUID) -> Batch:
        async with self.begin() as tx:
            return await open_batch(self.tasks, self.runs, tx, who, batch_id)
