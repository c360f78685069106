"""Keep a new task, for whoever creates one or many."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from app.features.notifications.domain.config import Reach, config_problems
from app.features.tasks.domain.task import NewTask, Task, TaskType
from app.features.tasks.ports import TaskStore
from app.features.tasks.use_cases.access import checked_task
from app.features.tasks.use_cases.keep_secret import KeepSecret
from app.features.tasks.use_cases.plan_task import PlanTask
from app.features.tasks.use_cases.start_task import StartTask
from app.kernel.authority import Authority
from app.kernel.errors import FieldError, refuse_invalid
from app.kernel.identity import Principal
from app.kernel.ids import RunId, TaskId, new_run_id
from app.kernel.transaction import Tx
from app.kernel.values import Json


@dataclass(frozen=True, slots=True)
class Made:
    """A new task, and the run it began with, if it did; and the secret of its webhook, if it has one."""

    task: Task
    run_id: RunId | None
    secret: str | None = None


@dataclass(frozen=True, slots=True)
class AddTask:
    """Keep a task in the caller's name, plan it where it has a schedule, and begin it where it begins by itself and
    need not wait for others.

    When the transaction is committed the caller rings, and dispatches the run. No cycle of dependencies can be made,
    since a task names only those there are. Errors: ValidationFailed, DelegatedTooDeep, SealBroken.
    """

    tasks: TaskStore
    start: StartTask
    plan: PlanTask
    secrets: KeepSecret
    reach: Reach

    async def __call__(self, tx: Tx, draft: NewTask, who: Principal, *, batch_id: UUID | None = None) -> Made:
        self.refuse_out_of_reach(draft.notification_config)
        await self._hold_needed(tx, draft)
        task = await self.tasks.add(tx, TaskId(new_run_id()), draft, authority=Authority.of(who), batch_id=batch_id)
        if await self.plan.first(tx, task.id, draft):
            task = checked_task(await self.tasks.find(tx, task.id), who)
        if task.task_type is TaskType.TRIGGERED:
            return Made(task, None, await self.secrets.put(tx, task.id))
        return Made(task, await self.begin(tx, task, who))

    async def again(self, tx: Tx, task: Task, who: Principal) -> Made:
        """Tell what was made, to another try of the same request."""
        secrets = await self.secrets.read(tx, task.id)
        return Made(task, await self.begin(tx, task, who), next(iter(secrets), None))

    def refuse_out_of_reach(self, config: Mapping[str, Json] | None) -> None:
        """Errors: ValidationFailed, for a channel that the operator has not set up."""
        refuse_invalid(config_problems(config or {}, self.reach, at="notification_config"))

    async def begin(self, tx: Tx, task: Task, who: Principal) -> RunId | None:
        """Begin it where it is to begin by itself: once, however often this is asked."""
        if not task.task_type.begins_by_itself or not await self.tasks.ready(tx, [task.id]):
            return None
        return await self.start.begin(tx, task, request_id=who.request_id)

    def ring(self, *made: Task) -> None:
        """Wake those who wait for slots, when what was made is committed."""
        if any(task.next_run_at is not None for task in made):
            self.plan.ring()

    async def _hold_needed(self, tx: Tx, draft: NewTask) -> None:
        """Errors: ValidationFailed, where one is not there, or another's."""
        if draft.depends_on:
            held = await self.tasks.hold(tx, draft.depends_on)
            own = {task.id for task in held if task.owner == draft.owner}
            unknown = [str(one) for one in draft.depends_on if one not in own]
            refuse_invalid([FieldError("depends_on", f"there is no task {one}") for one in unknown])
