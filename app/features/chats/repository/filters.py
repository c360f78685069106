"""List filters, from the kernel's value to advanced-alchemy's."""

from collections.abc import Sequence

from advanced_alchemy.filters import BeforeAfter, CollectionFilter, LimitOffset, OrderBy, SearchFilter, StatementFilter

from app.kernel.ids import MAX_ID
from app.kernel.paging import ListQuery


def filters_of(query: ListQuery) -> Sequence[StatementFilter]:
    """Map a query whose field names are also attributes of the row; ties are broken by id, so that pages are stable."""
    filters: list[StatementFilter] = [
        BeforeAfter("created_at", before=query.created_before, after=query.created_after),
        BeforeAfter("updated_at", before=query.updated_before, after=query.updated_after),
        OrderBy(query.order_by or "id", query.sort_order),
        LimitOffset(limit=query.limit, offset=query.offset),
    ]
    if query.order_by not in (None, "id"):
        filters.insert(-1, OrderBy("id", query.sort_order))
    if query.ids is not None:
        filters.append(CollectionFilter("id", query.ids))
    if query.search is not None:
        search = query.search
        filters.append(SearchFilter(search.field, search.text, ignore_case=search.ignore_case, escape_wildcards=True))
    return filters


def is_storable_id(number: int) -> bool:
    """Tell whether a bigint column may hold it; what cannot be stored cannot be found either."""
    return 0 < number <= MAX_ID
