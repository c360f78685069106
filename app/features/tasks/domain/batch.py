"""Many tasks that were set at once, and how they stand."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from app.features.tasks.domain.task import Task
from app.infra.durable.ports import RunState
from app.kernel.errors import FieldError, NotFound
from app.kernel.ids import RunId, TaskId, UserId

MAX_TASKS = 100
NOT_BEGUN = "not_begun"
"""how a task stands that no run was begun of"""
UNDONE = (RunState.FAILED, RunState.INTERRUPTED)


@dataclass(frozen=True, slots=True)
class NewestRun:
    id: RunId
    state: RunState


@dataclass(frozen=True, slots=True)
class Batch:
    """`newest` has the newest run of each task that has one."""

    id: UUID
    owner: UserId
    tasks: Sequence[Task]
    newest: Mapping[TaskId, NewestRun]

    @property
    def counts(self) -> Mapping[str, int]:
        """Count the tasks by the state of their newest run; every state is named."""
        found = Counter(self.state_of(task) for task in self.tasks)
        return {state: found[state] for state in (NOT_BEGUN, *(state.value for state in RunState))}

    @property
    def undone(self) -> Sequence[tuple[Task, RunId]]:
        """Name the tasks whose newest run failed or was stopped, and that run."""
        known = [(task, self.newest.get(task.id)) for task in self.tasks]
        return [(task, run.id) for task, run in known if run is not None and run.state in UNDONE]

    def state_of(self, task: Task) -> str:
        run = self.newest.get(task.id)
        return NOT_BEGUN if run is None else run.state.value


class BatchNotFound(NotFound):
    type = "batch-not-found"
    title = "There is no such batch"


def count_problems(count: int) -> list[FieldError]:
    return [] if 0 < count <= MAX_TASKS else [FieldError("tasks", f"must be 1 to {MAX_TASKS} tasks")]


def problems_of(number: int, problems: Sequence[FieldError]) -> list[FieldError]:
    """Name the fields of one task as those of the batch."""
    return [FieldError(f"tasks.{number}.{one.field}", one.message) for one in problems]
