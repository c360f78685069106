"""What owners of tasks are told, by their tasks' own rules: how runs ended, and what waits for that."""

import hashlib
from dataclasses import dataclass

from app.features.notifications.domain.news import About, Kind, News
from app.features.notifications.ports import RulesOfRun
from app.features.notifications.use_cases.notify import Notify
from app.features.runs.ports import RunStore
from app.features.tasks.ports import RunOutcome, TaskStore
from app.kernel.ids import RunId, TaskId
from app.kernel.transaction import Tx


@dataclass(frozen=True, slots=True)
class TaskNotices:
    """Implements `Outcomes`, and the `Preferences` of notifications."""

    notify: Notify
    tasks: TaskStore
    runs: RunStore

    async def note(self, tx: Tx, outcome: RunOutcome) -> None:
        if outcome.has_something_to_say:
            await self.notify(tx, _ended(outcome), outcome.rules)
        for task_id in outcome.blocked:
            await self._note_blocked(tx, task_id, outcome)

    async def of_run(self, tx: Tx, run_id: RunId) -> RulesOfRun:
        run = await self.runs.find(tx, run_id)
        if run is None or run.task_id is None:
            return RulesOfRun(order=f"run:{run_id}")
        task_id = TaskId(run.task_id)
        task = await self.tasks.find_kept(tx, task_id)
        return RulesOfRun(None if task is None else task.notification_config, task_id, _order(task_id))

    async def _note_blocked(self, tx: Tx, task_id: TaskId, outcome: RunOutcome) -> None:
        task = await self.tasks.find(tx, task_id)
        if task is None:
            return
        news = News(
            key=f"blocked:{task_id}:{outcome.run_id}",
            owner=task.owner,
            kind=Kind.WAITING,
            title=task.prompt,
            text=f"It cannot begin: what it depends on {outcome.state}, {outcome.title}",
            order=_order(task_id),
            about=About(task_id=task_id, agent=task.agent or ""),
            details={"blocked_by": str(outcome.task_id)},
        )
        await self.notify(tx, news, task.notification_config)


def _ended(outcome: RunOutcome) -> News:
    error = outcome.error
    said = "" if error is None else f"{error.type}: {error.detail}"
    text = "\n\n".join(part for part in (said, outcome.text) if part)
    return News(
        key=f"run:{outcome.run_id}",
        owner=outcome.owner,
        kind=Kind(outcome.severity.value),
        title=outcome.title,
        text=text,
        order=_order(outcome.task_id),
        about=About(outcome.run_id, outcome.task_id, None, outcome.agent or ""),
        same_as=hashlib.sha256(f"{outcome.severity}\0{text}".encode("utf-8", "replace")).hexdigest(),
        details={
            "status": outcome.state.value,
            "trigger": outcome.trigger,
            "task_type": outcome.task_type.value,
            "error": None if error is None else {"type": error.type, "detail": error.detail},
            "blocked": [str(one) for one in outcome.blocked],
        },
    )


def _order(task_id: TaskId) -> str:
    return f"task:{task_id}"
