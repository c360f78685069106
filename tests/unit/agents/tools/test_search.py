"""Tools are found by their names and by what is said of them."""

from collections.abc import Mapping
from typing import Any

import pytest

from app.agents.contract import Tool, ToolContext
from app.agents.tools.search import found_in, ranked


async def nothing(ctx: ToolContext, arguments: Mapping[str, Any]) -> object:
    return None


KNOWN = [
    Tool(name, about, {"type": "object"}, nothing)
    for name, about in {
        "agenda_listCalendars": "List calendars of the user.",
        "agenda_delete_calendar": "Delete a calendar with everything in it.",
        "agenda_list_events": "List events in a range of time.",
        "analytics_snapshot": "Take a snapshot of all calendars.",
        "auth_register": "Create a user.",
    }.items()
]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("delete calendar", ["agenda_delete_calendar", "agenda_listCalendars"]),
        ("LIST CALENDAR", ["agenda_listCalendars", "agenda_list_events"]),
        ("snapshots", ["analytics_snapshot"]),
        ("register a new user", ["auth_register"]),
        ("weather", []),
        ("", []),
        ("!?", []),
    ],
    ids=["two words", "camel case", "plural", "sentence", "no match", "empty", "no word"],
)
def test_the_best_come_first(query: str, found: list[str]) -> None:
    assert ranked(query, KNOWN)[: max(len(found), 1)] == found


@pytest.mark.parametrize("result", [None, "text", {"tools": "x"}, {"tools": [1]}, ["a"]])
def test_what_is_no_result_of_a_search_finds_nothing(result: Any) -> None:  # Any: what JSON can say
    assert found_in(result) == () or found_in(result) == []
