"""Who may touch which task. Another person's is not found, exactly like one that does not exist."""

from uuid import UUID

from app.features.runs.ports import RunStore
from app.features.tasks.domain.batch import Batch, BatchNotFound, NewestRun
from app.features.tasks.domain.task import Task, TaskNotFound, may_touch
from app.features.tasks.ports import TaskStore
from app.kernel.identity import Principal
from app.kernel.ids import TaskId
from app.kernel.transaction import Tx


async def open_task(tasks: TaskStore, tx: Tx, who: Principal, task_id: TaskId) -> Task:
    """Errors: TaskNotFound."""
    return checked_task(await tasks.find(tx, task_id), who)


def checked_task(task: Task | None, who: Principal) -> Task:
    """Errors: TaskNotFound."""
    if task is None or not may_touch(who, task):
        raise TaskNotFound
    return task


async def open_batch(tasks: TaskStore, runs: RunStore, tx: Tx, who: Principal, batch_id: UUID) -> Batch:
    """Read a batch with how its tasks stand. Errors: BatchNotFound."""
    found = await tasks.of_batch(tx, batch_id)
    if not found or not all(may_touch(who, task) for task in found):
        raise BatchNotFound
    newest = await runs.newest_of_tasks(tx, [task.id for task in found])
    states = {task_id: NewestRun(run.id, run.status) for task_id, run in newest.items()}
    return Batch(batch_id, found[0].owner, found, states)
