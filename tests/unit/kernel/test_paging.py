from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kernel.errors import ValidationFailed
from app.kernel.paging import (
    DEFAULT_PAGE_SIZE,
    MAX_IDS,
    MAX_PAGE,
    MAX_PAGE_SIZE,
    MAX_SEARCH_LENGTH,
    ListFields,
    ListQuery,
    Search,
    parse_list_query,
)

FIELDS = ListFields(searchable=frozenset({"title", "agent"}), sortable=frozenset({"id", "title"}))
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


def parsed(query: str) -> ListQuery:
    return parse_list_query(parse_qs(query, keep_blank_values=True), FIELDS)


def refused(query: str) -> list[str]:
    with pytest.raises(ValidationFailed) as refusal:
        parsed(query)
    return [error.field for error in refusal.value.errors]


def test_without_filters_the_first_page_of_the_newest_is_meant() -> None:
    assert parsed("") == ListQuery()
    assert (ListQuery().limit, ListQuery().offset, ListQuery().sort_order) == (DEFAULT_PAGE_SIZE, 0, "desc")


def test_other_keys_are_left_to_the_caller() -> None:
    assert parsed("user_id=7&nonsense=1") == ListQuery()


@pytest.mark.parametrize(
    ("query", "limit", "offset"),
    [
        ("pageSize=5", 5, 0),
        ("currentPage=3&pageSize=5", 5, 10),
        (f"currentPage={MAX_PAGE}&pageSize=100", 100, 99999900),
    ],
)
def test_pages_become_limits_and_offsets(query: str, limit: int, offset: int) -> None:
    assert (parsed(query).limit, parsed(query).offset) == (limit, offset)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-01", NEW_YEAR),
        ("2026-01-01T00:00:00Z", NEW_YEAR),
        ("2026-01-01T00:00:00", NEW_YEAR),
        ("20260101T000000Z", NEW_YEAR),
        ("2026-01-01T02:00:00%2B02:00", NEW_YEAR),
        ("2025-12-31T19:00:00.5-05:00", NEW_YEAR + timedelta(seconds=0.5)),
    ],
)
def test_a_time_is_read_as_utc_unless_it_says_otherwise(text: str, moment: datetime) -> None:
    found = parsed(f"createdAfter={text}").created_after

    assert found == moment
    assert found is not None
    assert found.tzinfo is UTC


def test_every_bound_is_read() -> None:
    query = parsed("createdBefore=2026-01-01&createdAfter=2026-01-02&updatedBefore=2026-01-03&updatedAfter=2026-01-04")

    bounds = (query.created_before, query.created_after, query.updated_before, query.updated_after)
    assert [bound.day for bound in bounds if bound] == [1, 2, 3, 4]


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59-14:00"])
def test_a_time_that_is_outside_the_calendar_in_utc_is_refused(text: str) -> None:
    assert refused(f"updatedBefore={text}") == ["updatedBefore"]


# offsets of whole minutes, as ISO 8601 has them
OFFSETS = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(moment=st.datetimes(timezones=OFFSETS))
def test_any_time_is_read_or_refused(moment: datetime) -> None:
    try:
        found = parse_list_query({"createdAfter": [moment.isoformat()]}, FIELDS).created_after
    except ValidationFailed:
        return

    assert found == moment


@pytest.mark.parametrize(
    ("query", "ids"), [("ids=1", (1,)), ("ids=3,1,2", (3, 1, 2)), ("ids=1&ids=2,3", (1, 2, 3)), ("ids=0", (0,))]
)
def test_ids_come_in_one_value_or_in_several(query: str, ids: tuple[int, ...]) -> None:
    assert parsed(query).ids == ids


def test_ids_are_counted() -> None:
    assert len(parsed("ids=" + ",".join(["1"] * MAX_IDS)).ids or ()) == MAX_IDS
    assert refused("ids=" + ",".join(["1"] * (MAX_IDS + 1))) == ["ids"]


@pytest.mark.parametrize(
    "text", ["", "-1", "+1", "%2B1", "1.0", "1e3", "1_0", "%201", "x", "\u0661", "\u00b2", str(2**63), "1,", "9" * 5000]
)
def test_an_id_is_a_plain_number_a_database_can_hold(text: str) -> None:
    assert refused(f"ids={text}") == ["ids"]


def test_a_search_has_a_field_and_a_text() -> None:
    assert parsed("searchField=title&searchString=a%20b").search == Search("title", "a b", ignore_case=True)
    assert parsed("searchField=title&searchString=a&searchIgnoreCase=0").search == Search(
        "title", "a", ignore_case=False
    )


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("searchString=a", ["searchField"]),
        ("searchField=title", ["searchString"]),
        ("searchField=secret&searchString=a", ["searchField"]),
        ("searchField=title&searchString=", ["searchString"]),
        ("searchField=title&searchString=%00", ["searchString"]),
        ("searchField=title&searchString=" + "a" * (MAX_SEARCH_LENGTH + 1), ["searchString"]),
        ("searchIgnoreCase=maybe", ["searchIgnoreCase"]),
        (f"pageSize={MAX_PAGE_SIZE + 1}", ["pageSize"]),
        ("pageSize=0", ["pageSize"]),
        ("pageSize=1&pageSize=2", ["pageSize"]),
        (f"currentPage={MAX_PAGE + 1}", ["currentPage"]),
        ("orderBy=secret", ["orderBy"]),
        ("sortOrder=DESC", ["sortOrder"]),
        ("createdBefore=soon", ["createdBefore"]),
        ("pageSize=0&sortOrder=up&ids=x&orderBy=secret", ["pageSize", "ids", "orderBy", "sortOrder"]),
    ],
)
def test_everything_that_is_wrong_is_named(query: str, fields: list[str]) -> None:
    assert refused(query) == fields


def test_order_is_chosen_among_what_may_be_sorted_by() -> None:
    query = parsed("orderBy=title&sortOrder=asc")

    assert (query.order_by, query.sort_order) == ("title", "asc")
