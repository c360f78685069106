"""End a run of a task: the one place where that is written down, and those are begun or told that waited for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from app.features.approvals.use_cases.close_approvals import CloseApprovals
from app.features.runs.domain.agent_work import OrderUnreadable
from app.features.runs.ports import RunStore
from app.features.runs.use_cases.read_answer import read_answer
from app.features.tasks.domain.order import TaskOrder
from app.features.tasks.domain.task import Task
from app.features.tasks.domain.verdict import verdict_on
from app.features.tasks.ports import Outcomes, RunOutcome, TaskStore
from app.features.tasks.use_cases.start_task import StartTask
from app.features.usage.use_cases.close_run import CloseRun
from app.infra.durable.ports import Ended, RunContext, RunState
from app.infra.events.ports import NewEvent
from app.kernel.ids import TaskId
from app.kernel.transaction import Tx
from app.kernel.values import Json

TITLE_LIMIT_CHARS = 80

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class EndTask:
    """What every process knows of tasks: how a run of one ends. The handler of those where no agent works.

    In the transaction that ends the run, and so once: the task is told of its last run, tasks that waited for it begin
    or are blocked, and `Outcomes` hears of it.
    """

    tasks: TaskStore
    runs: RunStore
    start: StartTask
    outcomes: Outcomes
    close: CloseRun
    close_approvals: CloseApprovals

    async def run(self, context: RunContext) -> Json:
        raise RuntimeError(f"no agent works in this process; it took the run {context.job.id}")

    async def settle(self, tx: Tx, ended: Ended) -> Sequence[NewEvent]:
        closed = await self.close_approvals(tx, ended.job.id)
        if ended.job.parent_id is None:  # what a run began is not the task's
            await self._settle(tx, ended)
        await self.close(tx, ended.job.id)
        return closed

    async def _settle(self, tx: Tx, ended: Ended) -> None:
        try:
            order = TaskOrder.of(ended.job)
        except OrderUnreadable:
            log.warning("task.unreadable", run_id=str(ended.job.id))
            return
        task = await self.tasks.settle(tx, order.task_id, ended.job.id, ended.state)
        if task is None:
            return
        waiting = await self.tasks.tell_dependants(tx, task.id, ended.state)
        if ended.state is RunState.COMPLETED:
            await self._begin(tx, waiting)
        text = _answer_in(ended.result) or await read_answer(self.runs, tx, ended.job.id)
        blocked = () if ended.state is RunState.COMPLETED else tuple(waiting)
        await self.outcomes.note(tx, _outcome(task, ended, text, blocked))

    async def _begin(self, tx: Tx, waiting: Sequence[TaskId]) -> None:
        await self.start.hold(tx, waiting)  # whoever completes another of what they wait for is kept out, or is seen
        for task in await self.tasks.ready(tx, waiting) if waiting else ():
            await self.start.begin(tx, task)


def _outcome(task: Task, ended: Ended, text: str, blocked: tuple[TaskId, ...]) -> RunOutcome:
    verdict = verdict_on(task.task_type, ended.state, text)
    return RunOutcome(
        task_id=task.id,
        run_id=ended.job.id,
        owner=task.owner,
        task_type=task.task_type,
        trigger=ended.job.trigger,
        agent=ended.job.agent,
        state=ended.state,
        severity=verdict.severity,
        title=_title(task.prompt),
        text=text,
        error=ended.error,
        rules=task.notification_config,
        blocked=blocked,
        has_something_to_say=verdict.has_something_to_say,
    )


def _answer_in(result: Json) -> str:
    text = result.get("text") if isinstance(result, Mapping) else None
    return text if isinstance(text, str) else ""


def _title(prompt: str) -> str:
    """Name a task by the beginning of what it asks for."""
    line = " ".join(prompt.split())
    return line if len(line) <= TITLE_LIMIT_CHARS else line[: TITLE_LIMIT_CHARS - 1] + "\N{HORIZONTAL ELLIPSIS}"
