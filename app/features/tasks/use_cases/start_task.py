"""Begin runs of tasks: the one way there is, whatever the reason."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from app.agents.contract import AgentDirectory
from app.features.tasks.domain import research
from app.features.tasks.domain.order import input_of
from app.features.tasks.domain.task import BY_ITSELF, KIND, Task, TaskType, Trigger, lane_of
from app.infra.durable.ports import NewRun, RunQueue
from app.kernel.authority import Authority
from app.kernel.ids import RunId, TaskId, new_run_id
from app.kernel.transaction import Tx
from app.kernel.values import Json

PRIORITY = 10
"""behind the turns of chats, where a person waits"""


@dataclass(frozen=True, slots=True)
class Start:
    """A run that is wanted of a task. `prompt` and `authority` are the task's own where they are None.

    `dedupe`: a second run of the same word is not made. `extra` is kept in the run's input, for handlers of the type.
    """

    task: Task
    trigger: Trigger
    prompt: str | None = None
    authority: Authority | None = None
    dedupe: str | None = None
    scheduled_for: datetime | None = None
    request_id: str = ""
    extra: Mapping[str, Json] | None = None


@dataclass(frozen=True, slots=True)
class StartTask:
    """Put runs of tasks into their lanes with the caller's transaction, who dispatches them when it is committed.

    Talks to nobody but the database. Concurrency: holds the tasks' lanes until that ends, as does whoever ends a run of
    theirs, who then writes their rows: who has written one is to have called `hold` before.
    """

    queue: RunQueue
    agents: AgentDirectory

    async def hold(self, tx: Tx, ids: Sequence[TaskId]) -> None:
        """Keep runs of these tasks from being put, and from ending, until the transaction is over."""
        for task_id in sorted(ids):
            await self.queue.take_place(tx, lane=lane_of(task_id))

    async def put(
        self,
        tx: Tx,
        task: Task,
        *,
        trigger: Trigger,
        prompt: str | None = None,
        authority: Authority | None = None,
        dedupe: str | None = None,
        scheduled_for: datetime | None = None,
        request_id: str = "",
        extra: Mapping[str, Json] | None = None,
    ) -> RunId:
        start = Start(task, trigger, prompt, authority, dedupe, scheduled_for, request_id, extra)
        return await self.queue.put(tx, self._run_of(start))

    async def put_many(self, tx: Tx, starts: Sequence[Start]) -> Sequence[RunId]:
        """Do the same for many. Cost: four statements, however many there are."""
        return await self.queue.put_many(tx, [self._run_of(start) for start in starts])

    async def begin(self, tx: Tx, task: Task, *, request_id: str = "") -> RunId:
        """Let a task begin that begins by itself: once, however often it is asked for."""
        trigger, dedupe = BY_ITSELF[task.task_type], f"task:{task.id}:begin"
        return await self.put(tx, task, trigger=trigger, dedupe=dedupe, request_id=request_id)

    def _run_of(self, start: Start) -> NewRun:
        task = start.task
        return NewRun(
            id=new_run_id(),
            kind=research.KIND if task.task_type is TaskType.RESEARCH else KIND,
            owner=task.owner,
            trigger=start.trigger.value,
            input=input_of(
                task,
                prompt=task.prompt if start.prompt is None else start.prompt,
                authority=start.authority or task.authority,
                request_id=start.request_id,
                extra=start.extra,
            ),
            lane=lane_of(task.id),
            task_id=task.id,
            agent=task.agent or self.agents.default_name,
            priority=PRIORITY,
            scheduled_for=start.scheduled_for,
            dedupe=start.dedupe,
        )
