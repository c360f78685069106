"""Runs and their events, read where the engine keeps them."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row, Select, String, Text, Uuid, bindparam, case, cast, func, literal, select
from sqlalchemy.dialects.postgresql import ARRAY

from app.features.runs.domain.run import Run, RunUsage
from app.features.runs.ports import MAX_UNFINISHED
from app.infra.db.engine import session_of
from app.infra.db.listing import conditions, page_of
from app.infra.durable.ports import RunError, RunState
from app.infra.durable.tables import RUNS
from app.infra.events.encoding import event_of
from app.infra.events.ports import EventType, RunEvent
from app.infra.events.tables import EVENTS
from app.kernel.ids import ChatId, RunId, TaskId, UserId
from app.kernel.paging import ListQuery, Page
from app.kernel.transaction import Tx

MAX_ANCESTORS = 16
# PostgreSQL cannot look into a document that says a NUL or half of a surrogate pair; `answer_of` writes none
_WRITTEN = cast(RUNS.c.result, Text)
_IS_READABLE = (func.strpos(_WRITTEN, "\\u0000") == 0) & (func.strpos(_WRITTEN, "\\ud") == 0)
ANSWER = case((RUNS.c.chat_id.is_(None) & _IS_READABLE, RUNS.c.result.op("->>")("text"))).label("answer")
_SHOWN = tuple(
    RUNS.c[name]
    for name in (
        "id", "owner", "chat_id", "task_id", "agent", "trigger", "state", "error", "rerun_of", "usage", "cost",
        "scheduled_for", "created_at", "started_at", "finished_at",
    )
)  # fmt: skip
_LIVE = [state.value for state in RunState if not state.is_final]

# built once, and track no rows: an exchange begins with them
_OF_CHAT = select(*_SHOWN, ANSWER).where(RUNS.c.chat_id == bindparam("chat"))
_FIND = select(*_SHOWN, ANSWER).where(RUNS.c.id == bindparam("run"))
_UNFINISHED = _OF_CHAT.where(RUNS.c.state.in_(_LIVE)).order_by(RUNS.c.id).limit(MAX_UNFINISHED)
_ABOVE = (
    select(RUNS.c.id, RUNS.c.parent_id, literal(0).label("height"))
    .where(RUNS.c.id == bindparam("run"))
    .cte("above", recursive=True)
)
_ABOVE = _ABOVE.union_all(
    select(RUNS.c.id, RUNS.c.parent_id, _ABOVE.c.height + 1).where(
        RUNS.c.id == _ABOVE.c.parent_id, _ABOVE.c.height < MAX_ANCESTORS
    )
)
_ANCESTORS = (
    select(*_SHOWN, ANSWER).join(_ABOVE, _ABOVE.c.id == RUNS.c.id).where(_ABOVE.c.height > 0).order_by(_ABOVE.c.height)
)
_OF_TASK = (
    select(*_SHOWN, ANSWER)
    .where(RUNS.c.task_id == bindparam("task"), RUNS.c.parent_id.is_(None), RUNS.c.state.in_(_LIVE))
    .order_by(RUNS.c.id)
    .limit(MAX_UNFINISHED)
)
_ASKED = func.unnest(bindparam("tasks", type_=ARRAY(Uuid()))).table_valued("id", name="asked").render_derived()
_ITS = RUNS.alias("its")
_IS_NEWEST = (_ITS.c.task_id == _ASKED.c.id) & _ITS.c.parent_id.is_(None)
_NEWEST = select(_ITS.c.id).where(_IS_NEWEST).order_by(_ITS.c.id.desc()).limit(1).scalar_subquery()
_NEWEST_OF_TASKS = select(*_SHOWN, ANSWER).where(RUNS.c.id.in_(select(_NEWEST).select_from(_ASKED)))
_OF_OWNER = (
    select(*_SHOWN, ANSWER)
    .where(RUNS.c.owner == bindparam("owner"), RUNS.c.state.in_(_LIVE))
    .order_by(RUNS.c.id)
    .limit(MAX_UNFINISHED)
)
_LAST_COMPLETED = (
    select(*_SHOWN, ANSWER)
    .where(RUNS.c.task_id == bindparam("task"), RUNS.c.parent_id.is_(None), RUNS.c.state == RunState.COMPLETED.value)
    .order_by(RUNS.c.id.desc())
    .limit(1)
)
_COLUMNS = {
    "id": RUNS.c.id,
    "created_at": RUNS.c.created_at,
    "updated_at": func.coalesce(RUNS.c.finished_at, RUNS.c.started_at, RUNS.c.created_at),
}
_EVENTS = (
    select(EVENTS)
    .where(
        EVENTS.c.run_id == bindparam("run"),
        EVENTS.c.type == bindparam("types", type_=ARRAY(String())).any_(),
    )
    .order_by(EVENTS.c.seq)
)


class PostgresRunStore:
    async def find(self, tx: Tx, run_id: RunId) -> Run | None:
        return await _one(tx, _FIND, run=run_id)

    async def unfinished(self, tx: Tx, chat_id: ChatId) -> Sequence[Run]:
        return await _all(tx, _UNFINISHED, chat=chat_id)

    async def ancestors(self, tx: Tx, run_id: RunId) -> Sequence[Run]:
        return await _all(tx, _ANCESTORS, run=run_id)

    async def unfinished_of_owner(self, tx: Tx, owner: UserId) -> Sequence[Run]:
        return await _all(tx, _OF_OWNER, owner=owner)

    async def unfinished_of_task(self, tx: Tx, task_id: TaskId) -> Sequence[Run]:
        return await _all(tx, _OF_TASK, task=task_id)

    async def newest_of_tasks(self, tx: Tx, ids: Sequence[TaskId]) -> Mapping[TaskId, Run]:
        runs = await _all(tx, _NEWEST_OF_TASKS, tasks=list(ids))
        return {run.task_id: run for run in runs if run.task_id is not None}

    async def last_completed_of_task(self, tx: Tx, task_id: TaskId) -> Run | None:
        return await _one(tx, _LAST_COMPLETED, task=task_id)

    async def list_of_task(self, tx: Tx, task_id: TaskId, query: ListQuery) -> Page[Run]:
        wanted = [RUNS.c.task_id == task_id, RUNS.c.parent_id.is_(None), *conditions(_COLUMNS, query)]
        rows, total = await page_of(tx, select(*_SHOWN, ANSWER), _COLUMNS, wanted, query)
        return Page([_run(row) for row in rows], total, query.limit, query.offset)

    async def list_of_owner(
        self, tx: Tx, query: ListQuery, *, owner: UserId, status: RunState | None = None
    ) -> Page[Run]:
        wanted = [RUNS.c.owner == owner, *conditions(_COLUMNS, query)]
        if status is not None:
            wanted.append(RUNS.c.state == status.value)
        rows, total = await page_of(tx, select(*_SHOWN, ANSWER), _COLUMNS, wanted, query)
        return Page([_run(row) for row in rows], total, query.limit, query.offset)

    async def events(self, tx: Tx, run_id: RunId, types: Sequence[EventType]) -> Sequence[RunEvent]:
        rows = await session_of(tx).execute(_EVENTS, {"run": run_id, "types": [type_.value for type_ in types]})
        return [event_of(row) for row in rows]


# Any: a statement's columns, and a row of them, have no type of their own
async def _one(tx: Tx, statement: Select[Any], **values: object) -> Run | None:
    row = (await session_of(tx).execute(statement, values)).first()
    return _run(row) if row else None


async def _all(tx: Tx, statement: Select[Any], **values: object) -> Sequence[Run]:
    return [_run(row) for row in await session_of(tx).execute(statement, values)]


def _run(row: Row[Any]) -> Run:
    return Run(
        id=RunId(row.id),
        owner=UserId(row.owner),
        chat_id=None if row.chat_id is None else ChatId(row.chat_id),
        task_id=None if row.task_id is None else TaskId(row.task_id),
        agent=row.agent,
        trigger=row.trigger,
        status=RunState(row.state),
        error=None if row.error is None else RunError(row.error["type"], row.error["detail"]),
        rerun_of=None if row.rerun_of is None else RunId(row.rerun_of),
        usage=_usage(row),
        scheduled_for=row.scheduled_for,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        answer=row.answer,
    )


def _usage(row: Row[Any]) -> RunUsage:
    spent = row.usage or {}
    counts = {name: int(spent.get(name, 0)) for name in ("input_tokens", "output_tokens", "requests", "tool_calls")}
    return RunUsage(**counts, cost=None if row.cost is None else f"{row.cost.normalize():f}")
