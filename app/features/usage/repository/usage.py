"""What was spent, in PostgreSQL: added up when somebody asks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, delete, func, select

from app.agents.turns import Usage
from app.features.usage.domain.spent import Dimension, UsageFilter, UsageSum
from app.features.usage.tables import USAGE
from app.infra.db.engine import session_of
from app.infra.db.listing import conditions
from app.kernel.paging import ListQuery, Page
from app.kernel.transaction import Begin, Tx

_COLUMNS = USAGE.c
_BY: Mapping[Dimension, ColumnElement[Any]] = {  # Any: each column has a type of its own
    Dimension.DAY: _COLUMNS.day,
    Dimension.AGENT: _COLUMNS.agent,
    Dimension.CHAT: _COLUMNS.chat_id,
    Dimension.MODEL: _COLUMNS.model,
    Dimension.USER: _COLUMNS.user_id,
}
_SUMS: Mapping[str, ColumnElement[Any]] = {
    name: func.sum(_COLUMNS[name])
    for name in ("input_tokens", "output_tokens", "requests", "tool_calls", "cost", "milliseconds", "unpriced_requests")
}
_SORTED_AS = {"seconds": "milliseconds"}
FORGOTTEN_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class PostgresUsageStore:
    begin: Begin

    async def sums(self, tx: Tx, query: ListQuery, *, by: Sequence[Dimension], only: UsageFilter) -> Page[UsageSum]:
        session = session_of(tx)
        keys = [_BY[dimension] for dimension in by]
        wanted = [*_of(only), *conditions(_COLUMNS, query)]
        grouped = select(*keys, *(value.label(name) for name, value in _SUMS.items())).where(*wanted).group_by(*keys)
        if not keys:  # the sum of nothing is a row all the same
            grouped = grouped.having(func.count() > 0)
        total = await session.scalar(select(func.count()).select_from(grouped.subquery()))
        page = _ordered(grouped, query, by).limit(query.limit).offset(query.offset)
        rows = await session.execute(page)
        return Page([_sum(row, by) for row in rows], total or 0, query.limit, query.offset)

    async def forget(self, *, before: date) -> None:
        old = select(_COLUMNS.run_id, _COLUMNS.day, _COLUMNS.model).where(_COLUMNS.day < before)
        old = old.limit(FORGOTTEN_AT_ONCE).with_for_update(skip_locked=True)
        key = func.row(_COLUMNS.run_id, _COLUMNS.day, _COLUMNS.model)
        async with self.begin() as tx:
            await session_of(tx).execute(delete(USAGE).where(key.in_(old)))


def _of(only: UsageFilter) -> Sequence[ColumnElement[bool]]:
    given = (
        (_COLUMNS.user_id, only.user_id),
        (_COLUMNS.agent, only.agent),
        (_COLUMNS.chat_id, only.chat_id),
        (_COLUMNS.model, only.model),
    )
    return [column == value for column, value in given if value is not None]


def _ordered(grouped: Select[Any], query: ListQuery, by: Sequence[Dimension]) -> Select[Any]:
    """Order by what was asked for, then by the dimensions, so that pages are stable."""
    name = _SORTED_AS.get(query.order_by or "", query.order_by)
    keys = [_BY[dimension] for dimension in by]
    first = [] if name is None else [_SUMS[name] if name in _SUMS else _BY[Dimension(name)]]
    order = [key.asc() if query.sort_order == "asc" else key.desc() for key in (*first, *keys)]
    return grouped.order_by(*(key.nulls_last() for key in order))


def _sum(row: Row[Any], by: Sequence[Dimension]) -> UsageSum:
    return UsageSum(
        values=dict(zip(by, row, strict=False)),
        usage=Usage(
            input_tokens=int(row.input_tokens),
            output_tokens=int(row.output_tokens),
            requests=int(row.requests),
            tool_calls=int(row.tool_calls),
            cost=row.cost,
        ),
        milliseconds=int(row.milliseconds),
        unpriced_requests=int(row.unpriced_requests),
    )
