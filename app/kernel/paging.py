"""What list endpoints take and give: filters read from the query string into a value, pages out of a store.

Rule: a store maps these to its own language; nothing here knows SQL. Names are the wire's (camelCase) only while
parsing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from uuid import UUID

from app.kernel.errors import FieldError, ValidationFailed
from app.kernel.ids import MAX_ID

MAX_PAGE_SIZE = 100
DEFAULT_PAGE_SIZE = 20
MAX_IDS = 500
MAX_PAGE = 1_000_000
MAX_SEARCH_LENGTH = 256

SortOrder = Literal["asc", "desc"]


@dataclass(frozen=True, slots=True)
class Page[T]:
    items: Sequence[T]
    total: int
    limit: int
    offset: int


@dataclass(frozen=True, slots=True)
class Search:
    field: str
    text: str
    ignore_case: bool


@dataclass(frozen=True, slots=True)
class ListQuery:
    """Filters of a list endpoint; times are exclusive bounds, aware. `order_by` is None for the newest first."""

    ids: tuple[int, ...] | None = None
    created_before: datetime | None = None
    created_after: datetime | None = None
    updated_before: datetime | None = None
    updated_after: datetime | None = None
    search: Search | None = None
    order_by: str | None = None
    sort_order: SortOrder = "desc"
    limit: int = DEFAULT_PAGE_SIZE
    offset: int = 0


@dataclass(frozen=True, slots=True)
class ListFields:
    """Which fields of a noun may be searched and sorted by."""

    searchable: frozenset[str]
    sortable: frozenset[str]


def parse_list_query(query: Mapping[str, Sequence[str]], fields: ListFields) -> ListQuery:
    """Read the list filters out of a query string; keys that are not filters are left to the caller.

    Errors: ValidationFailed, with every field that is wrong.
    """
    reader = _Reader(query)
    page = reader.read("currentPage", _whole(1, MAX_PAGE), 1)
    limit = reader.read("pageSize", _whole(1, MAX_PAGE_SIZE), DEFAULT_PAGE_SIZE)
    found = ListQuery(
        ids=reader.read_ids("ids"),
        created_before=reader.read("createdBefore", _moment, None),
        created_after=reader.read("createdAfter", _moment, None),
        updated_before=reader.read("updatedBefore", _moment, None),
        updated_after=reader.read("updatedAfter", _moment, None),
        search=reader.read_search(fields.searchable),
        order_by=reader.read("orderBy", _one_of(fields.sortable), None),
        sort_order=reader.read("sortOrder", _sort_order, "desc"),
        limit=limit,
        offset=(page - 1) * limit,
    )
    if reader.errors:
        raise ValidationFailed("Some filters are not valid.", errors=reader.errors)
    return found


def parse_uuids(query: Mapping[str, Sequence[str]], key: str = "ids") -> tuple[UUID, ...] | None:
    """Read a filter of ids that are UUIDs, which `parse_list_query` must not be shown; None where it is not given.

    Errors: ValidationFailed.
    """
    texts = [part for value in query.get(key, ()) for part in value.split(",")]
    if not texts:
        return None
    if len(texts) <= MAX_IDS:
        try:
            return tuple(UUID(text) for text in texts)
        except ValueError:
            pass
    raise ValidationFailed("Some filters are not valid.", errors=[FieldError(key, f"must be at most {MAX_IDS} ids")])


class _Reader:
    """Collects what is wrong instead of stopping at the first."""

    def __init__(self, query: Mapping[str, Sequence[str]]) -> None:
        self._query = query
        self.errors: list[FieldError] = []

    def read[T, D](self, key: str, parse: Callable[[str], T], default: D) -> T | D:
        values = self._query.get(key, ())
        if not values:
            return default
        if len(values) > 1:
            self.errors.append(FieldError(key, "is given more than once"))
            return default
        try:
            return parse(values[0])
        except ValueError as error:
            self.errors.append(FieldError(key, str(error)))
            return default

    def read_ids(self, key: str) -> tuple[int, ...] | None:
        values = [part for value in self._query.get(key, ()) for part in value.split(",")]
        if not values:
            return None
        if len(values) > MAX_IDS:
            self.errors.append(FieldError(key, f"takes at most {MAX_IDS} ids"))
            return None
        try:
            return tuple(_whole(0, MAX_ID)(value) for value in values)
        except ValueError as error:
            self.errors.append(FieldError(key, str(error)))
            return None

    def read_search(self, searchable: frozenset[str]) -> Search | None:
        field = self.read("searchField", _one_of(searchable), None)
        text = self.read("searchString", _search_text, None)
        ignore_case = self.read("searchIgnoreCase", _boolean, default=True)
        has_text, has_field = bool(self._query.get("searchString")), bool(self._query.get("searchField"))
        if has_text != has_field:
            missing = "searchField" if has_text else "searchString"
            self.errors.append(FieldError(missing, "searchField and searchString go together"))
        if field is None or text is None:
            return None
        return Search(field, text, ignore_case)


def _whole(lowest: int, highest: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        # int() alone would take "+1", "1_0", " 1" and other scripts' digits
        if not (text.isascii() and text.isdigit() and len(text) <= 19 and lowest <= int(text) <= highest):
            msg = f"must be a whole number from {lowest} to {highest}"
            raise ValueError(msg)
        return int(text)

    return parse


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        # in UTC at once: at the ends of the calendar an offset leads out of it
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        msg = "must be an ISO 8601 time"
        raise ValueError(msg) from None


def _one_of(allowed: frozenset[str]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in allowed:
            msg = f"must be one of {', '.join(sorted(allowed))}"
            raise ValueError(msg)
        return text

    return parse


def _sort_order(text: str) -> SortOrder:
    if text == "asc":
        return "asc"
    if text == "desc":
        return "desc"
    msg = "must be asc or desc"
    raise ValueError(msg)


def _search_text(text: str) -> str:
    if not text or len(text) > MAX_SEARCH_LENGTH or "\0" in text:
        msg = f"must have 1 to {MAX_SEARCH_LENGTH} characters"
        raise ValueError(msg)
    return text


def _boolean(text: str) -> bool:
    if text in ("true", "1"):
        return True
    if text in ("false", "0"):
        return False
    msg = "must be true or false"
    raise ValueError(msg)
