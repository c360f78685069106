"""Runs and their events, read where the engine keeps them."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, Select, String, bindparam, literal, select
from sqlalchemy.dialects.postgresql import ARRAY

from app.features.runs.domain import Run, RunUsage
from app.infra.db.engine import session_of
from app.infra.durable.ports import RunError, RunState
from app.infra.durable.tables import RUNS
from app.infra.events.encoding import event_of
from app.infra.events.ports import EventType, RunEvent
from app.infra.events.tables import EVENTS
from app.kernel.ids import ChatId, RunId, UserId
from app.kernel.transaction import Tx

MAX_UNFINISHED = 100
MAX_ANCESTORS = 16
_SHOWN = tuple(
    RUNS.c[name]
    for name in (
        "id", "owner", "chat_id", "task_id", "agent", "trigger", "state", "error", "rerun_of", "usage", "cost",
        "scheduled_for", "created_at", "started_at", "finished_at",
    )
)  # fmt: skip
_LIVE = [state.value for state in RunState if not state.is_final]

# built once, and track no rows: an exchange begins with them
_OF_CHAT = select(*_SHOWN).where(RUNS.c.chat_id == bindparam("chat"))
_FIND = select(*_SHOWN).where(RUNS.c.id == bindparam("run"))
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
_ANCESTORS = select(*_SHOWN).join(_ABOVE, _ABOVE.c.id == RUNS.c.id).where(_ABOVE.c.height > 0).order_by(_ABOVE.c.height)
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
        task_id=row.task_id,
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
    )


def _usage(row: Row[Any]) -> RunUsage:
    spent = row.usage or {}
    counts = {name: int(spent.get(name, 0)) for name in ("input_tokens", "output_tokens", "requests", "tool_calls")}
    return RunUsage(**counts, cost=None if row.cost is None else f"{row.cost.normalize():f}")
