"""List filters, from the kernel's value to a statement over one table.

Rule: the fields a query names are among the columns that are handed in, which the slice's `ListFields` sees to.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select

from app.infra.db.engine import session_of
from app.kernel.paging import ListQuery
from app.kernel.transaction import Tx

# Any: a table's columns by name, or a mapping of such expressions; a statement's columns have no type of their own
type Columns = Any


def conditions(columns: Columns, query: ListQuery) -> Sequence[ColumnElement[bool]]:
    """Say which rows are wanted, but for `ids`."""
    found: list[ColumnElement[bool]] = []
    if query.created_before is not None:
        found.append(columns["created_at"] < query.created_before)
    if query.created_after is not None:
        found.append(columns["created_at"] > query.created_after)
    if query.updated_before is not None:
        found.append(columns["updated_at"] < query.updated_before)
    if query.updated_after is not None:
        found.append(columns["updated_at"] > query.updated_after)
    if query.search is not None:
        column = columns[query.search.field]
        contains = column.icontains if query.search.ignore_case else column.contains
        found.append(contains(query.search.text, autoescape=True))
    return found


async def page_of(
    tx: Tx, shown: Select[Any], columns: Columns, wanted: Sequence[ColumnElement[bool]], query: ListQuery
) -> tuple[Sequence[Any], int]:
    """Read one page and count them all; ties are broken by id, so that pages are stable."""
    session = session_of(tx)
    total = await session.scalar(select(func.count(columns["id"])).where(*wanted))
    keys = [columns[query.order_by or "id"], columns["id"]]
    order = [key.asc() if query.sort_order == "asc" else key.desc() for key in keys]
    rows = await session.execute(shown.where(*wanted).order_by(*order).limit(query.limit).offset(query.offset))
    return rows.all(), total or 0
