"""What the use cases of tasks ask of the outside: a store, who is told how runs ended, and whose rights still stand.

Rule: a store never decides who may see what. Use cases do, before they change anything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from app.features.tasks.domain.history import Entry, HistoryFilter, Place, RunSum, SumBy
from app.features.tasks.domain.severity import Severity
from app.features.tasks.domain.task import NewTask, Task, TaskChange, TaskFilter, TaskType
from app.infra.durable.ports import RunError, RunState
from app.kernel.authority import Authority
from app.kernel.ids import RunId, TaskId, UserId
from app.kernel.paging import ListQuery, Page
from app.kernel.transaction import Tx
from app.kernel.values import Json


class TaskStore(Protocol):
    """Tasks. A deleted one is invisible except to `find_kept`, and keeps its runs."""

    async def add(
        self, tx: Tx, task_id: TaskId, draft: NewTask, *, authority: Authority, batch_id: UUID | None = None
    ) -> Task:
        """Keep a new task. What it depends on must have been locked by `hold` in this transaction."""
        ...

    async def find(self, tx: Tx, task_id: TaskId) -> Task | None: ...

    async def find_kept(self, tx: Tx, task_id: TaskId) -> Task | None:
        """Find a task whether it is deleted or not."""
        ...

    async def hold(self, tx: Tx, ids: Sequence[TaskId]) -> Sequence[Task]:
        """Find tasks, and keep their runs from ending until the transaction is over: what is found stays true."""
        ...

    async def list(self, tx: Tx, query: ListQuery, *, only: TaskFilter) -> Page[Task]:
        """List tasks, the newest first unless the query orders otherwise."""
        ...

    async def of_batch(self, tx: Tx, batch_id: UUID) -> Sequence[Task]:
        """List the tasks of a batch, in the order they were made."""
        ...

    async def update(
        self, tx: Tx, task_id: TaskId, change: TaskChange, *, authority: Authority | None = None
    ) -> Task | None:
        """Change what the change names; with `authority`, in whose name it works from now on."""
        ...

    async def withdraw(self, tx: Tx) -> int:
        """Mark the tasks whose authority was withdrawn, before that is forgotten; tell how many are new."""
        ...

    async def delete(self, tx: Tx, task_id: TaskId) -> None: ...

    async def restore(self, tx: Tx, task_id: TaskId) -> Task | None: ...

    async def settle(self, tx: Tx, task_id: TaskId, run_id: RunId, state: RunState) -> Task | None:
        """Write down how a run of the task ended; whether the task is deleted or not."""
        ...

    async def tell_dependants(self, tx: Tx, task_id: TaskId, state: RunState) -> Sequence[TaskId]:
        """Write down for those that wait for the task how its run ended, and name them, in order."""
        ...

    async def ready(self, tx: Tx, ids: Sequence[TaskId]) -> Sequence[Task]:
        """Give those of them that are enabled, and whose dependencies are all completed.

        Concurrency: whoever may complete another dependency at the same moment is to be kept out by the task's lane.
        """
        ...


class Standing(Protocol):
    """Whether rights that were written down still stand."""

    async def is_withdrawn(self, tx: Tx, authority: Authority) -> bool:
        """Tell whether the token it was given with, or all of its owner's of that time, were withdrawn."""
        ...


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a run of a task ended, as whoever is told of it needs it; `rules` is the task's `notification_config`.

    `text` is what the agent answered, as far as it came. `blocked` are tasks that now cannot begin.
    """

    task_id: TaskId
    run_id: RunId
    owner: UserId
    task_type: TaskType
    trigger: str
    agent: str | None
    state: RunState
    severity: Severity
    title: str
    text: str
    error: RunError | None = None
    rules: Mapping[str, Json] | None = None
    blocked: tuple[TaskId, ...] = ()


class Outcomes(Protocol):
    async def note(self, tx: Tx, outcome: RunOutcome) -> None:
        """Take note of the end of a run, exactly once, in the transaction that ends it; talk to nobody."""
        ...


class HistoryStore(Protocol):
    """What was done of tasks, told of their runs. Errors: StorageUnavailable."""

    async def entries(self, tx: Tx, only: HistoryFilter, *, after: Place | None, limit: int) -> Sequence[Entry]:
        """Read a page behind a place, the newest first."""
        ...

    async def sums(self, tx: Tx, only: HistoryFilter, *, by: SumBy) -> Sequence[RunSum]:
        """Add up the runs that were made within the filter's bounds; the last active first, at most a hundred."""
        ...
