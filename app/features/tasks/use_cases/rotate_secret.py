"""Give a webhook another secret."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from app.features.tasks.domain.task import Task, TaskType
from app.features.tasks.domain.webhook import MAX_OVERLAP_S, OVERLAP_S, NotTriggered, secret_problems
from app.features.tasks.ports import TaskStore
from app.features.tasks.use_cases.access import open_task
from app.features.tasks.use_cases.keep_secret import KeepSecret
from app.kernel.audit import AuditTrail, record_on_others
from app.kernel.clock import Clock
from app.kernel.errors import FieldError, refuse_invalid
from app.kernel.identity import Principal
from app.kernel.ids import TaskId
from app.kernel.keyed_requests import KeyedRequest, Receipts
from app.kernel.transaction import Begin


@dataclass(frozen=True, slots=True)
class Rotation:
    """`secret` is one that was made elsewhere; the one before holds for `overlap_s` more."""

    secret: str | None = None
    overlap_s: int = OVERLAP_S

    def problems(self) -> list[FieldError]:
        found = [] if self.secret is None else secret_problems(self.secret)
        if not 0 <= self.overlap_s <= MAX_OVERLAP_S:
            found.append(FieldError("overlap_s", f"must be from 0 to {MAX_OVERLAP_S}"))
        return found


@dataclass(frozen=True, slots=True)
class Rotated:
    task: Task
    secret: str
    former_holds_until: datetime


@dataclass(frozen=True, slots=True)
class RotateSecret:
    """Make another secret the present one; deliveries signed with the one before are taken for a while longer.

    However often a keyed request comes, the secret changes once, and the present one is told.
    Errors: ValidationFailed, TaskNotFound, NotTriggered, SealBroken.
    """

    begin: Begin
    tasks: TaskStore
    secrets: KeepSecret
    receipts: Receipts
    audit: AuditTrail
    clock: Clock

    async def __call__(
        self, who: Principal, task_id: TaskId, wish: Rotation, *, keyed: KeyedRequest | None = None
    ) -> Rotated:
        refuse_invalid(wish.problems())
        until = self.clock.now() + timedelta(seconds=wish.overlap_s)
        async with self.begin() as tx:
            task = await open_task(self.tasks, tx, who, task_id)
            if task.task_type is not TaskType.TRIGGERED:
                raise NotTriggered(f"Its type is {task.task_type.value}.")
            if keyed is not None and await self.receipts.find(tx, keyed) is not None:
                return Rotated(task, (await self.secrets.read(tx, task_id))[0], until)
            secret = await self.secrets.put(tx, task_id, secret=wish.secret, overlap_s=wish.overlap_s)
            await record_on_others(self.audit, tx, who, "task.secret_rotated", task_id, owner=task.owner)
            if keyed is not None:
                await self.receipts.note(tx, keyed, "rotated")
        return Rotated(task, secret, until)
