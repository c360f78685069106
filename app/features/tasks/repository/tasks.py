"""Tasks in PostgreSQL, as their owners see them."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, cast
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, exists, func, insert, select, update

from app.features.tasks.domain.task import NewTask, Task, TaskChange, TaskFilter, TaskType
from app.features.tasks.tables import DEPENDENCIES, TASKS
from app.infra.db.engine import session_of
from app.infra.db.listing import conditions, page_of
from app.infra.db.revocations import IS_IN_FORCE, ROWS
from app.infra.durable.ports import RunState
from app.kernel.authority import Authority
from app.kernel.ids import RunId, TaskId, UserId
from app.kernel.paging import ListQuery, Page
from app.kernel.revocation import MAX_NAME_LENGTH, Mark
from app.kernel.transaction import Tx
from app.kernel.values import KEPT, Json

_T, _D, _R = TASKS.c, DEPENDENCIES.c, ROWS.c
_COMPLETED = RunState.COMPLETED.value
_UNDONE = [RunState.FAILED.value, RunState.INTERRUPTED.value]


def _needs(*only: ColumnElement[bool]) -> ColumnElement[Any]:  # Any: an array of ids
    return select(func.array_agg(_D.needs)).where(_D.task_id == _T.id, *only).correlate(TASKS).scalar_subquery()


_SHOWN = (*_T, _needs().label("depends_on"), _needs(_D.state.in_(_UNDONE)).label("blocked_by"))
_LIVE = _T.deleted_at.is_(None)


class PostgresTaskStore:
    async def add(
        self, tx: Tx, task_id: TaskId, draft: NewTask, *, authority: Authority, batch_id: UUID | None = None
    ) -> Task:
        session = session_of(tx)
        new = {"id": task_id, "owner": draft.owner, "batch_id": batch_id, **_named(authority)}
        await session.execute(insert(TASKS).values({**new, **_columns_of(draft)}))
        if draft.depends_on:
            needed = select(_T.id, _T.last_status).where(_T.id.in_(draft.depends_on))
            rows = await session.execute(needed)
            edges = [{"task_id": task_id, "needs": row.id, "state": row.last_status} for row in rows]
            await session.execute(insert(DEPENDENCIES), edges)
        made = await self.find(tx, task_id)
        if made is None:
            raise RuntimeError("a task that was added is not there")
        return made

    async def find(self, tx: Tx, task_id: TaskId) -> Task | None:
        return await _one(tx, shown().where(_T.id == task_id, _LIVE))

    async def find_kept(self, tx: Tx, task_id: TaskId) -> Task | None:
        return await _one(tx, shown().where(_T.id == task_id))

    async def hold(self, tx: Tx, ids: Sequence[TaskId]) -> Sequence[Task]:
        found = shown().where(_T.id.in_(ids), _LIVE).order_by(_T.id).with_for_update(read=True, of=TASKS)
        return [task_of(row) for row in await session_of(tx).execute(found)]

    async def list(self, tx: Tx, query: ListQuery, *, only: TaskFilter) -> Page[Task]:
        wanted = [_LIVE, *_of(only), *conditions(_T, query)]
        rows, total = await page_of(tx, shown(), _T, wanted, query)
        return Page([task_of(row) for row in rows], total, query.limit, query.offset)

    async def of_batch(self, tx: Tx, batch_id: UUID) -> Sequence[Task]:
        found = shown().where(_T.batch_id == batch_id, _LIVE).order_by(_T.id)
        return [task_of(row) for row in await session_of(tx).execute(found)]

    async def update(
        self, tx: Tx, task_id: TaskId, change: TaskChange, *, authority: Authority | None = None
    ) -> Task | None:
        values = _changed(change)
        if authority is not None:
            values |= {**_named(authority), "withdrawn_at": None}
        if values:
            await session_of(tx).execute(update(TASKS).where(_T.id == task_id, _LIVE).values(values))
        return await self.find(tx, task_id)

    async def withdraw(self, tx: Tx) -> int:
        marked = 0
        for mark, name in ((Mark.SUBJECT, _T.owner), (Mark.JWT_ID, _T.token_id)):  # each a join by equality
            meant = (_R.mark == mark.value) & (_R.name == name) & IS_IN_FORCE & _T.withdrawn_at.is_(None)
            is_older = func.coalesce(_T.issued_at, float("-inf")) < func.extract("epoch", _R.before)
            now = {"withdrawn_at": func.now(), "updated_at": _T.updated_at}
            found = await session_of(tx).execute(update(TASKS).where(meant, is_older).values(now).returning(_T.id))
            marked += len(found.all())
        return marked

    async def delete(self, tx: Tx, task_id: TaskId) -> None:
        gone = {"deleted_at": func.now(), "updated_at": _T.updated_at}
        await session_of(tx).execute(update(TASKS).where(_T.id == task_id, _LIVE).values(gone))

    async def restore(self, tx: Tx, task_id: TaskId) -> Task | None:
        back = {"deleted_at": None, "updated_at": _T.updated_at}
        await session_of(tx).execute(update(TASKS).where(_T.id == task_id).values(back))
        return await self.find(tx, task_id)

    async def settle(self, tx: Tx, task_id: TaskId, run_id: RunId, state: RunState) -> Task | None:
        ended = {
            "last_run_at": func.now(),
            "last_run_id": run_id,
            "last_status": state.value,
            "updated_at": _T.updated_at,
        }
        await session_of(tx).execute(update(TASKS).where(_T.id == task_id).values(ended))
        return await self.find_kept(tx, task_id)

    async def tell_dependants(self, tx: Tx, task_id: TaskId, state: RunState) -> Sequence[TaskId]:
        told = update(DEPENDENCIES).where(_D.needs == task_id).values(state=state.value).returning(_D.task_id)
        return sorted(TaskId(found) for found in await session_of(tx).scalars(told))

    async def ready(self, tx: Tx, ids: Sequence[TaskId]) -> Sequence[Task]:
        missing = exists().where(_D.task_id == _T.id, _D.state.is_distinct_from(_COMPLETED))
        found = shown().where(_T.id.in_(ids), _LIVE, _T.enabled, ~missing).order_by(_T.id)
        return [task_of(row) for row in await session_of(tx).execute(found)]


# Any below: a statement's columns, and a row of them, have no type of their own
def shown(*more: ColumnElement[Any]) -> Select[Any]:
    """Read what `task_of` makes a task of."""
    return select(*_SHOWN, *more)


async def _one(tx: Tx, statement: Select[Any]) -> Task | None:
    row = (await session_of(tx).execute(statement)).first()
    return task_of(row) if row else None


def _of(only: TaskFilter) -> Sequence[ColumnElement[bool]]:
    type_ = None if only.task_type is None else only.task_type.value
    given = ((_T.owner, only.owner), (_T.task_type, type_), (_T.enabled, only.enabled))
    found = [column == value for column, value in given if value is not None]
    return found if only.ids is None else [*found, _T.id.in_(only.ids)]


def _named(authority: Authority) -> dict[str, Any]:
    """Write an authority down, and beside it what a withdrawal names; a name that is none cannot be withdrawn."""
    id_, issued_at = authority.token_id, authority.issued_at
    can_be_named = id_ is not None and len(id_) <= MAX_NAME_LENGTH and id_.isprintable()
    return {
        "authority": authority.as_json(),
        "token_id": id_ if can_be_named else None,
        "issued_at": issued_at if isfinite(issued_at) else None,
    }


_PLAIN = ("prompt", "agent", "schedule_expression", "timezone")
_DOCUMENTS = ("trigger_config", "notification_config", "settings", "context_data")


def _columns_of(draft: NewTask) -> dict[str, Any]:
    plain = {name: getattr(draft, name) for name in _PLAIN}
    plain["task_type"] = draft.task_type.value
    return {**plain, **{name: _document(getattr(draft, name)) for name in _DOCUMENTS}}


def _changed(change: TaskChange) -> dict[str, Any]:
    plain = {name: getattr(change, name) for name in (*_PLAIN, "enabled")}
    documents = {name: getattr(change, name) for name in _DOCUMENTS}
    kept = {name: value if value is KEPT else _document(value) for name, value in documents.items()}
    return {name: value for name, value in {**plain, **kept}.items() if value is not KEPT}


def _document(value: Mapping[str, Json] | None) -> dict[str, Json] | None:
    return None if value is None else dict(value)


def task_of(row: Row[Any]) -> Task:
    return Task(
        id=TaskId(row.id),
        owner=UserId(row.owner),
        task_type=TaskType(row.task_type),
        prompt=row.prompt,
        agent=row.agent,
        enabled=row.enabled,
        authority=Authority.from_json(row.authority),
        created_at=row.created_at,
        updated_at=row.updated_at,
        schedule_expression=row.schedule_expression,
        timezone=row.timezone,
        schedule=row.schedule,
        next_run_at=row.next_run_at,
        last_run_at=row.last_run_at,
        last_run_id=None if row.last_run_id is None else RunId(row.last_run_id),
        last_status=None if row.last_status is None else RunState(row.last_status),
        trigger_config=row.trigger_config,
        notification_config=row.notification_config,
        settings=row.settings,
        context_data=row.context_data,
        depends_on=_ids(row.depends_on),
        blocked_by=_ids(row.blocked_by),
        batch_id=row.batch_id,
        withdrawn_at=row.withdrawn_at,
        deleted_at=row.deleted_at,
    )


def _ids(found: Sequence[Any] | None) -> tuple[TaskId, ...]:
    return tuple(sorted(cast("Sequence[TaskId]", found or ())))
