"""Run a task now."""

from dataclasses import dataclass

from app.features.runs.domain.run import Run
from app.features.runs.ports import MAX_UNFINISHED, RunStore
from app.features.tasks.domain.task import MAX_WAITING, TaskBusy, TaskNotFound, Trigger
from app.features.tasks.ports import TaskStore
from app.features.tasks.use_cases.access import open_task
from app.features.tasks.use_cases.start_task import StartTask
from app.infra.durable.ports import Engine
from app.kernel.audit import AuditTrail, record_on_others
from app.kernel.authority import Authority
from app.kernel.identity import Principal
from app.kernel.ids import TaskId
from app.kernel.keyed_requests import KeyedRequest
from app.kernel.transaction import Begin, Tx


@dataclass(frozen=True, slots=True)
class ExecuteTask:
    """Begin a run of a task, enabled or not, beside whatever its schedule says; it waits for those of the task before.

    With the rights the owner has now; where an admin asks, with those of the task. A keyed request begins one, however
    often it is sent. Errors: TaskNotFound, TaskBusy, DelegatedTooDeep.
    """

    begin: Begin
    tasks: TaskStore
    runs: RunStore
    start: StartTask
    engine: Engine
    audit: AuditTrail

    async def __call__(self, who: Principal, task_id: TaskId, *, keyed: KeyedRequest | None = None) -> Run:
        async with self.begin() as tx:
            task = await open_task(self.tasks, tx, who, task_id)
            run_id = await self.start.put(
                tx,
                task,
                trigger=Trigger.MANUAL,
                authority=Authority.of(who) if task.owner == who.user_id else None,
                dedupe=None if keyed is None else f"keyed:{keyed.id}",
                request_id=who.request_id,
            )
            await self._refuse_where_busy(tx, task_id)
            await record_on_others(self.audit, tx, who, "task.executed", task_id, owner=task.owner)
            run = await self.runs.find(tx, run_id)
        await self.engine.dispatch(run_id)
        if run is None:
            raise TaskNotFound
        return run

    async def _refuse_where_busy(self, tx: Tx, task_id: TaskId) -> None:
        """Look behind the new run, which may be one there was. Errors: TaskBusy; then it was never there."""
        unfinished = await self.runs.unfinished_of_task(tx, task_id)
        asked_for = [run for run in unfinished if run.trigger == Trigger.MANUAL]
        if len(asked_for) > MAX_WAITING or len(unfinished) == MAX_UNFINISHED:
            raise TaskBusy(
                f"{MAX_WAITING} runs of the task were asked for and are not over; wait for one, or cancel it."
            )
