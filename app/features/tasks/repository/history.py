"""The history of tasks, and what their runs come to, read where the engine keeps them.

Facts
- A page is read off two indexes, that of the starts and that of the ends, each a page long, and merged.
- Sums are over runs that were made within a window: a run's id begins with the millisecond it was made in.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, Text, Uuid, cast, func, literal, select, tuple_, union_all

from app.features.runs.repository import ANSWER
from app.features.tasks.domain.history import (
    MAX_SUMS,
    SUMMARY_LIMIT_CHARS,
    Entry,
    HistoryFilter,
    LastRun,
    Moment,
    Place,
    RunSum,
    SumBy,
)
from app.features.tasks.domain.task import TaskType
from app.features.tasks.tables import TASKS
from app.infra.db.engine import session_of
from app.infra.durable.ports import RunError, RunState
from app.infra.durable.tables import RUNS
from app.kernel.ids import RunId, TaskId, UserId
from app.kernel.transaction import Tx

_OVER = (RunState.COMPLETED.value, RunState.FAILED.value)
_IS_TASKS = (RUNS.c.task_id.is_not(None), RUNS.c.parent_id.is_(None))
_SUMMARY = func.left(ANSWER, SUMMARY_LIMIT_CHARS).label("summary")
_SHOWN = tuple(
    RUNS.c[name]
    for name in ("owner", "chat_id", "task_id", "agent", "trigger", "state", "error", "started_at", "finished_at")
)
_TYPE = select(TASKS.c.task_type).where(TASKS.c.id == RUNS.c.task_id).scalar_subquery()


class PostgresHistoryStore:
    async def entries(self, tx: Tx, only: HistoryFilter, *, after: Place | None, limit: int) -> Sequence[Entry]:
        parts = []
        if only.has_starts:
            parts.append(_part(RUNS.c.started_at, Moment.START, [RUNS.c.started_at.is_not(None)], only, after, limit))
        if only.ends:
            wanted = [RUNS.c.finished_at.is_not(None), RUNS.c.state.in_([state.value for state in only.ends])]
            parts.append(_part(RUNS.c.finished_at, Moment.END, wanted, only, after, limit))
        if not parts:
            return ()
        page = union_all(*parts).subquery("page")
        newest = (page.c.at.desc(), page.c.id.desc(), page.c.moment.desc())
        shown: Select[Any] = (
            select(page.c.at, page.c.id, page.c.moment, *_SHOWN, _SUMMARY, _TYPE.label("task_type"))
            .join(RUNS, RUNS.c.id == page.c.id)
            .order_by(*newest)
            .limit(limit)
        )
        return [_entry(row) for row in await session_of(tx).execute(shown)]

    async def sums(self, tx: Tx, only: HistoryFilter, *, by: SumBy) -> Sequence[RunSum]:
        of = RUNS.c.task_id if by is SumBy.TASK else RUNS.c.agent
        is_own = RUNS.c.parent_id.is_(None)
        took = func.extract("epoch", RUNS.c.finished_at - RUNS.c.started_at) * 1000
        is_over = is_own & RUNS.c.state.in_(_OVER) & RUNS.c.started_at.is_not(None)
        counts = [func.count().filter(is_own & (RUNS.c.state == state.value)).label(state.value) for state in RunState]
        sums = (
            select(
                of.label("of"),
                func.count().filter(is_own).label("runs"),
                *counts,
                func.avg(took).filter(is_over).label("mean_ms"),
                func.percentile_cont(0.5).within_group(took).filter(is_over).label("median_ms"),
                func.percentile_cont(0.95).within_group(took).filter(is_over).label("p95_ms"),
                func.sum(RUNS.c.cost).label("cost"),
                # as text, which sorts alike and has a max()
                cast(func.max(cast(RUNS.c.id, Text)).filter(is_own), Uuid).label("last_id"),
            )
            .where(RUNS.c.task_id.is_not(None), *_during(only), *_of(only))
            .group_by(of)
            .having(func.count().filter(is_own) > 0)
            .subquery("sums")
        )
        rows = await session_of(tx).execute(
            select(sums, RUNS.c.state, RUNS.c.created_at, RUNS.c.finished_at)
            .join(RUNS, RUNS.c.id == sums.c.last_id)
            .order_by(sums.c.last_id.desc())
            .limit(MAX_SUMS)
        )
        return [_sum(row, by) for row in rows]


# Any below: a statement's columns, and a row of them, have no type of their own
def _part(
    at: ColumnElement[Any],
    moment: Moment,
    wanted: Sequence[ColumnElement[bool]],
    only: HistoryFilter,
    after: Place | None,
    limit: int,
) -> Select[Any]:
    """Read the newest of one moment behind a place."""
    found: list[Any] = [*wanted, *_IS_TASKS, *_of(only)]
    if only.since is not None:
        found.append(at >= only.since)
    if only.until is not None:
        found.append(at < only.until)
    if after is not None:
        place = tuple_(literal(after.at), literal(after.run_id), literal(after.moment.value))
        found.append(tuple_(at, RUNS.c.id, literal(moment.value)) < place)
        found.append(at <= after.at)  # which an index can be read by
    newest = select(at.label("at"), RUNS.c.id, literal(moment.value).label("moment")).where(*found)
    # in brackets of its own: each part has its order and its end
    return select(newest.order_by(at.desc(), RUNS.c.id.desc()).limit(limit).subquery())


def _of(only: HistoryFilter) -> Sequence[ColumnElement[bool]]:
    given = ((RUNS.c.owner, only.owner), (RUNS.c.task_id, only.task_id), (RUNS.c.agent, only.agent))
    found: list[ColumnElement[bool]] = [column == value for column, value in given if value is not None]
    if only.task_type is not None:
        found.append(_TYPE.in_([only.task_type.value]))
    return found


def _during(only: HistoryFilter) -> Sequence[ColumnElement[bool]]:
    bounds = ((only.since, RUNS.c.id.__ge__), (only.until, RUNS.c.id.__lt__))
    return [compare(_first_id(moment)) for moment, compare in bounds if moment is not None]


def _first_id(moment: datetime) -> UUID:
    """Give an id in front of all that are made from a moment on."""
    return UUID(int=max(0, int(moment.timestamp() * 1000)) << 80)


def _entry(row: Row[Any]) -> Entry:
    return Entry(
        place=Place(row.at, RunId(row.id), Moment(row.moment)),
        owner=UserId(row.owner),
        chat_id=row.chat_id,
        task_id=TaskId(row.task_id),
        task_type=None if row.task_type is None else TaskType(row.task_type),
        agent=row.agent,
        trigger=row.trigger,
        state=RunState(row.state),
        started_at=row.started_at,
        finished_at=row.finished_at,
        error=None if row.error is None else RunError(row.error["type"], row.error["detail"]),
        summary=row.summary or "",
    )


def _sum(row: Row[Any], by: SumBy) -> RunSum:
    of_task = by is SumBy.TASK
    values = row._mapping  # noqa: SLF001 - the row's documented view
    return RunSum(
        task_id=TaskId(row.of) if of_task else None,
        agent=None if of_task else row.of,
        runs=row.runs,
        by_state={state: values[state.value] for state in RunState},
        mean_ms=_rounded(row.mean_ms),
        median_ms=_rounded(row.median_ms),
        p95_ms=_rounded(row.p95_ms),
        last_run=LastRun(RunId(row.last_id), RunState(row.state), row.created_at, row.finished_at),
        cost=row.cost,
    )


def _rounded(value: Any) -> int | None:
    return None if value is None else round(value)
