"""What the use cases of runs ask of the outside, beside the engine and the event log, whose ports are those of `infra`.

Rule: runs are written by the engine alone; this store reads them.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from app.features.runs.domain.run import Run
from app.infra.durable.ports import RunState
from app.infra.events.ports import EventType, RunEvent
from app.kernel.ids import ChatId, RunId, TaskId, UserId
from app.kernel.paging import ListQuery, Page
from app.kernel.transaction import Tx

MAX_UNFINISHED = 100
"""so many of the runs that are not over are read at most"""


class RunStore(Protocol):
    async def find(self, tx: Tx, run_id: RunId) -> Run | None: ...

    async def unfinished(self, tx: Tx, chat_id: ChatId) -> Sequence[Run]:
        """Read the runs of a chat that are not over, the oldest first; at most MAX_UNFINISHED."""
        ...

    async def ancestors(self, tx: Tx, run_id: RunId) -> Sequence[Run]:
        """Read the runs in whose course it was begun, the nearest first; at most sixteen."""
        ...

    async def unfinished_of_owner(self, tx: Tx, owner: UserId) -> Sequence[Run]:
        """Read the runs of a person that are not over, the oldest first; at most a hundred."""
        ...

    async def unfinished_of_task(self, tx: Tx, task_id: TaskId) -> Sequence[Run]:
        """Read the runs of a task that are not over, oldest first; at most MAX_UNFINISHED. Never those a run began."""
        ...

    async def newest_of_tasks(self, tx: Tx, ids: Sequence[TaskId]) -> Mapping[TaskId, Run]:
        """Read the newest run of each of these tasks that has one; never one that a run began."""
        ...

    async def last_completed_of_task(self, tx: Tx, task_id: TaskId) -> Run | None:
        """Read the newest run of a task that was completed."""
        ...

    async def list_of_task(self, tx: Tx, task_id: TaskId, query: ListQuery) -> Page[Run]:
        """List the runs of a task but those a run began; one was changed last when it was made, begun or ended."""
        ...

    async def list_of_owner(
        self, tx: Tx, query: ListQuery, *, owner: UserId, status: RunState | None = None
    ) -> Page[Run]:
        """List the runs of a person, those in whichever state for None; the newest first unless ordered otherwise."""
        ...

    async def events(self, tx: Tx, run_id: RunId, types: Sequence[EventType]) -> Sequence[RunEvent]:
        """Read every event of these types, in order: in the transaction that ends a run, all there will be of them."""
        ...
