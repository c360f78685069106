"""Keep a new task, for whoever creates one or many."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from app.features.notifications.domain.config import Reach, config_problems
from app.features.tasks.domain.task import NewTask, Task
from app.features.tasks.ports import TaskStore
from app.features.tasks.use_cases.start_task import StartTask
from app.kernel.authority import Authority
from app.kernel.errors import FieldError, refuse_invalid
from app.kernel.identity import Principal
from app.kernel.ids import RunId, TaskId, new_run_id
from app.kernel.transaction import Tx
from app.kernel.values import Json


@dataclass(frozen=True, slots=True)
class Made:
    """A new task, and the run it began with, if it did."""

    task: Task
    run_id: RunId | None


@dataclass(frozen=True, slots=True)
class AddTask:
    """Keep a task in the caller's name, and begin it where it begins by itself and need not wait for others.

    The caller dispatches the run when the transaction is committed. No cycle of dependencies can be made, since a task
    names only those there are. Errors: ValidationFailed, DelegatedTooDeep.
    """

    tasks: TaskStore
    start: StartTask
    reach: Reach

    async def __call__(self, tx: Tx, draft: NewTask, who: Principal, *, batch_id: UUID | None = None) -> Made:
        self.refuse_out_of_reach(draft.notification_config)
        await self._hold_needed(tx, draft)
        task = await self.tasks.add(tx, TaskId(new_run_id()), draft, authority=Authority.of(who), batch_id=batch_id)
        return Made(task, await self.begin(tx, task, who))

    def refuse_out_of_reach(self, config: Mapping[str, Json] | None) -> None:
        """Errors: ValidationFailed, for a channel that the operator has not set up."""
        refuse_invalid(config_problems(config or {}, self.reach, at="notification_config"))

    async def begin(self, tx: Tx, task: Task, who: Principal) -> RunId | None:
        """Begin it where it is to begin by itself: once, however often this is asked."""
        if not task.task_type.begins_by_itself or not await self.tasks.ready(tx, [task.id]):
            return None
        return await self.start.begin(tx, task, request_id=who.request_id)

    async def _hold_needed(self, tx: Tx, draft: NewTask) -> None:
        """Errors: ValidationFailed, where one is not there, or another's."""
        if draft.depends_on:
            held = await self.tasks.hold(tx, draft.depends_on)
            own = {task.id for task in held if task.owner == draft.owner}
            unknown = [str(one) for one in draft.depends_on if one not in own]
            refuse_invalid([FieldError("depends_on", f"there is no task {one}") for one in unknown])
