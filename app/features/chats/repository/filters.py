"""List filters, from the kernel's value to what advanced-alchemy takes."""

from collections.abc import Sequence

from advanced_alchemy.filters import CollectionFilter, LimitOffset, OrderBy, StatementFilter
from sqlalchemy import ColumnElement

from app.infra.db.listing import Columns, conditions
from app.kernel.ids import MAX_ID
from app.kernel.paging import ListQuery


def filters_of(query: ListQuery, columns: Columns) -> Sequence[StatementFilter | ColumnElement[bool]]:
    """Map a query whose field names are also attributes of the row; ties are broken by id, so that pages are stable."""
    filters: list[StatementFilter | ColumnElement[bool]] = [
        *conditions(columns, query),
        OrderBy(query.order_by or "id", query.sort_order),
        LimitOffset(limit=query.limit, offset=query.offset),
    ]
    if query.order_by not in (None, "id"):
        filters.insert(-1, OrderBy("id", query.sort_order))
    if query.ids is not None:
        filters.append(CollectionFilter("id", query.ids))
    return filters


def is_storable_id(number: int) -> bool:
    """Tell whether a bigint column may hold it; what cannot be stored cannot be found either."""
    return 0 < number <= MAX_ID
