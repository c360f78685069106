"""Run again what failed of a batch."""

from dataclasses import dataclass
from uuid import UUID

from app.features.runs.ports import RunStore
from app.features.tasks.domain.batch import Batch
from app.features.tasks.domain.task import Trigger
from app.features.tasks.ports import TaskStore
from app.features.tasks.use_cases.access import open_batch
from app.features.tasks.use_cases.start_task import Start, StartTask
from app.infra.durable.ports import Engine
from app.kernel.audit import AuditTrail, record_on_others
from app.kernel.authority import Authority
from app.kernel.identity import Principal
from app.kernel.transaction import Begin


@dataclass(frozen=True, slots=True)
class RetryFailed:
    """Begin a run of each task whose newest run failed or was stopped: one for such a run, however often it is asked.

    With the rights the owner has now; where an admin asks, with those of the task. Errors: BatchNotFound,
    DelegatedTooDeep.
    """

    begin: Begin
    tasks: TaskStore
    runs: RunStore
    start: StartTask
    engine: Engine
    audit: AuditTrail

    async def __call__(self, who: Principal, batch_id: UUID) -> Batch:
        async with self.begin() as tx:
            batch = await open_batch(self.tasks, self.runs, tx, who, batch_id)
            authority = Authority.of(who) if batch.owner == who.user_id else None
            starts = [
                Start(task, Trigger.MANUAL, authority=authority, dedupe=f"retry:{run_id}", request_id=who.request_id)
                for task, run_id in batch.undone
            ]
            begun = await self.start.put_many(tx, starts)
            await record_on_others(self.audit, tx, who, "batch.retried", batch_id, owner=batch.owner)
            after = await open_batch(self.tasks, self.runs, tx, who, batch_id)
        for run_id in begun:
            await self.engine.dispatch(run_id)
        return after
