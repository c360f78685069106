"""Runs as the use cases read them, over the engine in memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.features.runs.domain.run import Run
from app.infra.durable.ports import RunState
from app.infra.events.ports import EventType, RunEvent
from app.kernel.ids import ChatId, RunId, TaskId, UserId
from app.kernel.paging import ListQuery, Page
from app.kernel.transaction import Tx
from tests.fakes.durable import FakeRun, FakeRuns


@dataclass
class FakeRunStore:
    kept: FakeRuns

    async def find(self, tx: Tx, run_id: RunId) -> Run | None:
        found = self.kept.runs.get(run_id)
        return run_of(found) if found else None

    async def unfinished(self, tx: Tx, chat_id: ChatId) -> Sequence[Run]:
        runs = sorted(self.kept.runs.values(), key=lambda run: run.new.id)
        return [run_of(run) for run in runs if run.new.chat_id == chat_id and not run.state.is_final]

    async def ancestors(self, tx: Tx, run_id: RunId) -> Sequence[Run]:
        found: list[Run] = []
        above = self.kept.runs[run_id].new.parent_id
        while above is not None:
            found.append(run_of(self.kept.runs[above]))
            above = self.kept.runs[above].new.parent_id
        return found

    async def unfinished_of_owner(self, tx: Tx, owner: UserId) -> Sequence[Run]:
        runs = sorted(self.kept.runs.values(), key=lambda run: run.new.id)
        return [run_of(run) for run in runs if run.new.owner == owner and not run.state.is_final]

    async def unfinished_of_task(self, tx: Tx, task_id: TaskId) -> Sequence[Run]:
        return [run for run in self._of_task(task_id) if not run.status.is_final]

    async def newest_of_tasks(self, tx: Tx, ids: Sequence[TaskId]) -> Mapping[TaskId, Run]:
        return {task_id: runs[-1] for task_id in ids if (runs := self._of_task(task_id))}

    async def last_completed_of_task(self, tx: Tx, task_id: TaskId) -> Run | None:
        done = [run for run in self._of_task(task_id) if run.status is RunState.COMPLETED]
        return done[-1] if done else None

    async def list_of_task(self, tx: Tx, task_id: TaskId, query: ListQuery) -> Page[Run]:
        runs = self._of_task(task_id)
        if query.sort_order == "desc":
            runs.reverse()
        return Page(runs[query.offset :][: query.limit], len(runs), query.limit, query.offset)

    async def list_of_owner(
        self, tx: Tx, query: ListQuery, *, owner: UserId, status: RunState | None = None
    ) -> Page[Run]:
        found = sorted(self.kept.runs.values(), key=lambda run: run.new.id, reverse=query.sort_order == "desc")
        runs = [run_of(run) for run in found if run.new.owner == owner and status in (None, run.state)]
        return Page(runs[query.offset :][: query.limit], len(runs), query.limit, query.offset)

    def _of_task(self, task_id: TaskId) -> list[Run]:
        runs = sorted(self.kept.runs.values(), key=lambda run: run.new.id)
        return [run_of(run) for run in runs if run.new.task_id == task_id and run.new.parent_id is None]

    async def events(self, tx: Tx, run_id: RunId, types: Sequence[EventType]) -> Sequence[RunEvent]:
        found = self.kept.runs.get(run_id)
        return [event for event in found.events if event.type in types] if found else []


def run_of(run: FakeRun) -> Run:
    new = run.new
    started = [event.at for event in run.events if event.type is EventType.RUN_STARTED]
    return Run(
        id=new.id,
        owner=new.owner,
        chat_id=new.chat_id,
        task_id=new.task_id,
        agent=new.agent,
        trigger=new.trigger,
        status=run.state,
        error=run.error,
        rerun_of=new.rerun_of,
        scheduled_for=new.scheduled_for,
        created_at=run.events[0].at,
        started_at=started[0] if started else None,
        finished_at=run.events[-1].at if run.state.is_final else None,
        answer=_answer(run),
    )


def _answer(run: FakeRun) -> str | None:
    if run.new.chat_id is not None or not isinstance(run.result, Mapping):
        return None
    text = run.result.get("text")
    return text if isinstance(text, str) else None
