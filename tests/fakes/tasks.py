"""The ports of tasks in memory, held by the contract tests of the real ones."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import UUID

from app.features.tasks.domain.task import NewTask as Draft
from app.features.tasks.domain.task import Task, TaskChange, TaskFilter
from app.features.tasks.ports import RunOutcome
from app.infra.durable.ports import RunState
from app.kernel.authority import Authority
from app.kernel.ids import RunId, TaskId
from app.kernel.paging import ListQuery, Page
from app.kernel.revocation import Mark
from app.kernel.transaction import Tx
from app.kernel.values import KEPT

_CHANGEABLE = (
    "prompt", "agent", "schedule_expression", "timezone", "trigger_config", "notification_config", "settings",
    "context_data", "enabled",
)  # fmt: skip


@dataclass
class FakeStanding:
    """What was withdrawn, and as of which second."""

    withdrawn: dict[tuple[Mark, str], float] = field(default_factory=dict)

    async def is_withdrawn(self, tx: Tx, authority: Authority) -> bool:
        names = (Mark.SUBJECT, authority.user_id), (Mark.JWT_ID, authority.token_id or "")
        return any(authority.issued_at < self.withdrawn.get(name, float("-inf")) for name in names)

    def withdraw(self, owner: str) -> None:
        self.withdrawn[Mark.SUBJECT, owner] = 2**40


@dataclass
class FakeTaskStore:
    """Transactions are serial and roll back; so nobody's run ends while one is open."""

    tasks: dict[TaskId, Task] = field(default_factory=dict)
    standing: FakeStanding = field(default_factory=FakeStanding)
    edges: dict[tuple[TaskId, TaskId], RunState | None] = field(default_factory=dict)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Tx]:
        async with self._lock:
            before = dict(self.tasks), dict(self.edges)
            try:
                yield object()
            except BaseException:
                self.tasks, self.edges = before
                raise

    async def add(
        self, tx: Tx, task_id: TaskId, draft: Draft, *, authority: Authority, batch_id: UUID | None = None
    ) -> Task:
        now = datetime.now(UTC)
        self.tasks[task_id] = Task(
            id=task_id,
            owner=draft.owner,
            task_type=draft.task_type,
            prompt=draft.prompt,
            agent=draft.agent,
            enabled=True,
            authority=authority,
            created_at=now,
            updated_at=now,
            schedule_expression=draft.schedule_expression,
            timezone=draft.timezone,
            trigger_config=draft.trigger_config,
            notification_config=draft.notification_config,
            settings=draft.settings,
            context_data=draft.context_data,
            depends_on=tuple(sorted(draft.depends_on)),
            batch_id=batch_id,
        )
        for needed in draft.depends_on:
            self.edges[task_id, needed] = self.tasks[needed].last_status
        return self._shown(task_id)

    async def find(self, tx: Tx, task_id: TaskId) -> Task | None:
        found = await self.find_kept(tx, task_id)
        return found if found and found.deleted_at is None else None

    async def find_kept(self, tx: Tx, task_id: TaskId) -> Task | None:
        return self._shown(task_id) if task_id in self.tasks else None

    async def hold(self, tx: Tx, ids: Sequence[TaskId]) -> Sequence[Task]:
        return [task for task in self._live() if task.id in ids]

    async def list(self, tx: Tx, query: ListQuery, *, only: TaskFilter) -> Page[Task]:
        found = [task for task in self._live() if _is_wanted(task, only) and _matches(task, query)]
        found.sort(
            key=lambda task: (getattr(task, query.order_by or "id"), task.id), reverse=query.sort_order == "desc"
        )
        return Page(found[query.offset :][: query.limit], len(found), query.limit, query.offset)

    async def of_batch(self, tx: Tx, batch_id: UUID) -> Sequence[Task]:
        return [task for task in self._live() if task.batch_id == batch_id]

    async def update(
        self, tx: Tx, task_id: TaskId, change: TaskChange, *, authority: Authority | None = None
    ) -> Task | None:
        task = await self.find(tx, task_id)
        if task is None:
            return None
        given = {name: getattr(change, name) for name in _CHANGEABLE}
        values = {name: value for name, value in given.items() if value is not KEPT}
        if values or authority is not None:
            changed = replace(task, **values, updated_at=datetime.now(UTC))
            if authority is not None:
                changed = replace(changed, authority=authority, withdrawn_at=None)
            self.tasks[task_id] = changed
        return self._shown(task_id)

    async def withdraw(self, tx: Tx) -> int:
        known = [task for task in self.tasks.values() if task.withdrawn_at is None]
        found = [task for task in known if await self.standing.is_withdrawn(tx, task.authority)]
        for task in found:
            self.tasks[task.id] = replace(task, withdrawn_at=datetime.now(UTC))
        return len(found)

    async def delete(self, tx: Tx, task_id: TaskId) -> None:
        if await self.find(tx, task_id):
            self.tasks[task_id] = replace(self.tasks[task_id], deleted_at=datetime.now(UTC))

    async def restore(self, tx: Tx, task_id: TaskId) -> Task | None:
        if task_id in self.tasks:
            self.tasks[task_id] = replace(self.tasks[task_id], deleted_at=None)
        return await self.find(tx, task_id)

    async def settle(self, tx: Tx, task_id: TaskId, run_id: RunId, state: RunState) -> Task | None:
        if task_id not in self.tasks:
            return None
        ended = {"last_run_at": datetime.now(UTC), "last_run_id": run_id, "last_status": state}
        self.tasks[task_id] = replace(self.tasks[task_id], **ended)  # type: ignore[arg-type] # of each field its own
        return self._shown(task_id)

    async def tell_dependants(self, tx: Tx, task_id: TaskId, state: RunState) -> Sequence[TaskId]:
        waiting = sorted(task for task, needed in self.edges if needed == task_id)
        for task in waiting:
            self.edges[task, task_id] = state
        return waiting

    async def ready(self, tx: Tx, ids: Sequence[TaskId]) -> Sequence[Task]:
        return [task for task in self._live() if task.id in ids and task.enabled and self._is_ready(task)]

    def _is_ready(self, task: Task) -> bool:
        return all(self.edges[task.id, needed] is RunState.COMPLETED for needed in task.depends_on)

    def _live(self) -> Sequence[Task]:
        return [self._shown(task_id) for task_id, task in sorted(self.tasks.items()) if task.deleted_at is None]

    def _shown(self, task_id: TaskId) -> Task:
        task = self.tasks[task_id]
        undone = (RunState.FAILED, RunState.INTERRUPTED)
        return replace(task, blocked_by=tuple(one for one in task.depends_on if self.edges[task_id, one] in undone))


@dataclass
class RecordingOutcomes:
    noted: list[RunOutcome] = field(default_factory=list)

    async def note(self, tx: Tx, outcome: RunOutcome) -> None:
        self.noted.append(outcome)


def _is_wanted(task: Task, only: TaskFilter) -> bool:
    if only.ids is not None and task.id not in only.ids:
        return False
    return all(
        wanted in (None, given)
        for wanted, given in (
            (only.owner, task.owner), (only.task_type, task.task_type), (only.enabled, task.enabled),
        )
    )  # fmt: skip


def _matches(task: Task, query: ListQuery) -> bool:
    bounds = (
        (query.created_before, query.created_after, task.created_at),
        (query.updated_before, query.updated_after, task.updated_at),
    )
    for before, after, at in bounds:
        if (before is not None and at >= before) or (after is not None and at <= after):
            return False
    if query.search is None:
        return True
    text, wanted = str(getattr(task, query.search.field) or ""), query.search.text
    return wanted.lower() in text.lower() if query.search.ignore_case else wanted in text
