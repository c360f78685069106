"""What the use cases of tasks ask of the outside: a store, who is told how runs ended, and whose rights still stand.

Rule: a store never decides who may see what. Use cases do, before they change anything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from app.features.tasks.domain.firing import Beside, Slot
from app.features.tasks.domain.history import Entry, HistoryFilter, Place, RunSum, SumBy
from app.features.tasks.domain.severity import Severity
from app.features.tasks.domain.task import NewTask, Task, TaskChange, TaskFilter, TaskType
from app.features.tasks.domain.timing import Timing
from app.features.tasks.domain.webhook import Delivered, KeptSecret
from app.infra.durable.ports import RunError, RunState
from app.kernel.authority import Authority
from app.kernel.ids import RunId, TaskId, UserId
from app.kernel.paging import ListQuery, Page
from app.kernel.transaction import Tx
from app.kernel.values import Json


@dataclass(frozen=True, slots=True)
class Due:
    """A task that has been due since `slot`."""

    task: Task
    slot: datetime
    now: datetime


@dataclass(frozen=True, slots=True)
class Noted:
    """What becomes of a slot; `digest` stands for what the agent was told."""

    task_id: TaskId
    slot: Slot
    digest: str


@dataclass(frozen=True, slots=True)
class Moved:
    task_id: TaskId
    next_run_at: datetime | None


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


class SlotStore(Protocol):
    """When tasks are due, by the database's clock, and which slots were fired. Errors: StorageUnavailable."""

    async def now(self, tx: Tx) -> datetime: ...

    async def wait_s(self, tx: Tx) -> float | None:
        """Tell in how many seconds the next slot comes, none or fewer when one is due; None when none will come."""
        ...

    async def due(self, tx: Tx, *, at_most: int) -> Sequence[TaskId]:
        """Name what is due, the longest first."""
        ...

    async def hold(self, tx: Tx, ids: Sequence[TaskId]) -> Sequence[Due]:
        """Lock those of them that are still due and that nobody else has in hand. Hold their lanes before."""
        ...

    async def beside(
        self, tx: Tx, lanes: Mapping[TaskId, str], since: Mapping[TaskId, datetime]
    ) -> Mapping[TaskId, Beside]:
        """Read what there is of tasks besides; their fired slots only where `since` says from when on."""
        ...

    async def plan(self, tx: Tx, task_id: TaskId, timing: Timing) -> None:
        """Say anew when a task is due."""
        ...

    async def claim(self, tx: Tx, slots: Sequence[Noted]) -> frozenset[tuple[TaskId, datetime]]:
        """Write down slots; gives those that were not written down before."""
        ...

    async def note_runs(self, tx: Tx, slots: Sequence[Noted], runs: Sequence[RunId]) -> None:
        """Write down which run each slot was fired with."""
        ...

    async def move(self, tx: Tx, moves: Sequence[Moved]) -> None:
        """Say when tasks are due next; one that is never due again is disabled."""
        ...

    async def forget(self, tx: Tx, *, older_than: timedelta, at_most: int) -> int:
        """Let go of slots that were written down so long ago; gives how many."""
        ...


class Alarm(Protocol):
    """Word that a schedule was changed. Concurrency: one a process; any process may ring."""

    def ring(self) -> None:
        """Wake whoever waits, in whatever process; a hint, which may be lost."""
        ...

    def heed(self) -> None:
        """Wait for what is rung from now on."""
        ...

    async def wait(self, timeout_s: float) -> None: ...


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a run of a task ended, as whoever is told of it needs it; `rules` is the task's `notification_config`.

    `text` is what the agent answered, as far as it came. `blocked` are tasks that now cannot begin. Of a run that has
    nothing to say (`domain/verdict.py`) nobody is to be told.
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
    has_something_to_say: bool = True


class Outcomes(Protocol):
    async def note(self, tx: Tx, outcome: RunOutcome) -> None:
        """Take note of the end of a run, exactly once, in the transaction that ends it; talk to nobody."""
        ...


class SecretStore(Protocol):
    """The secrets of webhooks, sealed; those whose time is over are as if they were not there."""

    async def put(self, tx: Tx, task_id: TaskId, sealed: bytes, *, overlap_s: float) -> None:
        """Make it the present secret, and let those before hold for so long at most; a few are kept."""
        ...

    async def live(self, tx: Tx, task_id: TaskId) -> Sequence[KeptSecret]:
        """Give all that hold now, the present one first."""
        ...


class DeliveryStore(Protocol):
    """What was delivered to webhooks in the last weeks."""

    async def take(self, tx: Tx, new: Delivered) -> Delivered | None:
        """Keep a delivery: None when it is the first of its key and its proof, else the earlier one.

        Concurrency: of two at once the second waits until the transaction of the first is over.
        """
        ...

    async def settle(self, tx: Tx, done: Delivered) -> None:
        """Write down what became of a delivery that was taken in this transaction."""
        ...

    async def count(self, tx: Tx, task_id: TaskId, *, within_s: float) -> int:
        """Count what was delivered to a task lately."""
        ...

    async def sweep(self, tx: Tx, *, older_than_days: int) -> int:
        """Remove some of what is older; tell how many."""
        ...


class HistoryStore(Protocol):
    """What was done of tasks, told of their runs. Errors: StorageUnavailable."""

    async def entries(self, tx: Tx, only: HistoryFilter, *, after: Place | None, limit: int) -> Sequence[Entry]:
        """Read a page behind a place, the newest first."""
        ...

    async def sums(self, tx: Tx, only: HistoryFilter, *, by: SumBy) -> Sequence[RunSum]:
        """Add up the runs that were made within the filter's bounds; the last active first, at most a hundred."""
        ...
