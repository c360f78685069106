from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fleet.programs import Program, as_user, is_problem, running

CALENDARS = "/api/v1/calendars/"
COMPONENTS = "/api/v1/components/"
BY_RANGE = "/api/v1/components/by-range"
CATEGORIES = "/api/v1/categories/"
ADMIN = as_user("1", "admin")


def a_calendar(agenda: httpx.Client, **fields: object) -> dict[str, Any]:  # Any: a JSON object
    answer = agenda.post(CALENDARS, json={"name": "Home", **fields})
    assert answer.status_code == 201
    return dict(answer.json())


def a_component(agenda: httpx.Client, calendar: dict[str, Any], **fields: object) -> dict[str, Any]:
    answer = agenda.post(COMPONENTS, json={"calendarId": calendar["id"], "summary": "Tea", **fields})
    assert answer.status_code == 201
    return dict(answer.json())


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", CALENDARS),
        ("POST", CALENDARS),
        ("GET", f"{CALENDARS}1"),
        ("PATCH", f"{CALENDARS}1"),
        ("DELETE", f"{CALENDARS}1"),
        ("POST", COMPONENTS),
        ("GET", f"{COMPONENTS}1"),
        ("PATCH", f"{COMPONENTS}1"),
        ("DELETE", f"{COMPONENTS}1"),
        ("GET", f"{BY_RANGE}?start_date=2026-01-01&end_date=2026-01-02"),
        ("GET", CATEGORIES),
        ("POST", CATEGORIES),
        ("GET", "/api/v1/stream/ticks"),
        ("GET", "/api/v1/files/a"),
        ("PUT", "/api/v1/files/a"),
        ("DELETE", "/api/v1/files/a"),
    ],
)
def test_nobody_is_let_in(agenda_program: Program, method: str, path: str) -> None:
    body = b'{"name": "A", "calendarId": 1, "summary": "B"}' if method in {"POST", "PATCH"} else b""
    if method == "PATCH":
        body = b"{}"

    answer = agenda_program.client.request(method, path, content=body)

    assert is_problem(answer, 401, "unauthenticated")


def test_two_names_for_the_caller_are_none(agenda_program: Program) -> None:
    answer = agenda_program.client.get(CALENDARS, headers=[("X-User-Id", "1"), ("X-User-Id", "2")])

    assert is_problem(answer, 401, "unauthenticated")


@pytest.mark.parametrize(
    ("method", "path"), [("PUT", CALENDARS), ("GET", COMPONENTS), ("GET", "/api/v1/calendarsX"), ("GET", "/nothing")]
)
def test_what_does_not_exist_is_a_problem_too(agenda: httpx.Client, method: str, path: str) -> None:
    answer = agenda.request(method, path)

    assert answer.status_code in {404, 405}
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code == 405) == ("allow" in answer.headers)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        pytest.param({"nme": "Home"}, "nme", id="an unknown key"),
        pytest.param({"name": ""}, "name", id="no name"),
        pytest.param({"name": None}, "name", id="null for a name"),
        pytest.param({"color": "red"}, "color", id="a color by name"),
        pytest.param({"visibility": "secret"}, "visibility", id="an unknown visibility"),
        pytest.param({"id": 0}, "id", id="an id out of range"),
        pytest.param({"id": 2**80}, "id", id="a huge id"),
        pytest.param({"timezone": {"id": "UTC", "offset": 0}}, "timezone.offset", id="an unknown key inside"),
    ],
)
def test_a_calendar_that_is_none_names_the_field(agenda: httpx.Client, fields: dict[str, object], field: str) -> None:
    answer = agenda.post(CALENDARS, json={"name": "Home", **fields})

    assert is_problem(answer, 400, "validation-failed")
    assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_another_owners_calendar_is_not_found(agenda: httpx.Client) -> None:
    calendar = a_calendar(agenda)
    component = a_component(agenda, calendar)
    stranger = as_user("stranger", "manager")

    answers = [
        agenda.get(f"{CALENDARS}{calendar['id']}", headers=stranger),
        agenda.patch(f"{CALENDARS}{calendar['id']}", json={"name": "Mine"}, headers=stranger),
        agenda.delete(f"{CALENDARS}{calendar['id']}", headers=stranger),
        agenda.post(COMPONENTS, json={"calendarId": calendar["id"], "summary": "Spy"}, headers=stranger),
        agenda.get(f"{COMPONENTS}{component['id']}", headers=stranger),
        agenda.patch(f"{COMPONENTS}{component['id']}", json={"summary": "Mine"}, headers=stranger),
        agenda.delete(f"{COMPONENTS}{component['id']}", headers=stranger),
    ]

    assert all(is_problem(answer, 404, "not-found") for answer in answers)
    assert agenda.get(f"{CALENDARS}{calendar['id']}").json() == calendar
    assert agenda.get(f"{COMPONENTS}{component['id']}").json() == component


def test_a_calendar_of_somebody_else_is_made_by_an_admin_only(agenda: httpx.Client) -> None:
    refused = agenda.post(CALENDARS, json={"name": "Theirs", "userId": 12})
    made = agenda.post(CALENDARS, json={"name": "Theirs", "userId": 12}, headers=ADMIN)

    assert is_problem(refused, 403, "not-allowed")
    assert made.json()["userId"] == "12"


def test_an_id_out_of_range_is_refused(agenda: httpx.Client) -> None:
    answer = agenda.get(f"{CALENDARS}{2**64}")

    assert is_problem(answer, 400, "validation-failed")


def test_an_admin_sees_everybodys(agenda: httpx.Client) -> None:
    calendar = a_calendar(agenda)

    answer = agenda.get(f"{CALENDARS}{calendar['id']}", headers=ADMIN)

    assert answer.json() == calendar


def test_a_calendar_has_defaults(agenda: httpx.Client) -> None:
    calendar = a_calendar(agenda)

    assert calendar == {
        "id": calendar["id"],
        "userId": agenda.headers["X-User-Id"],
        "name": "Home",
        "description": None,
        "color": None,
        "isPrimary": False,
        "visibility": "private",
        "timezone": None,
        "createdAt": calendar["createdAt"],
        "updatedAt": calendar["createdAt"],
    }


def test_an_id_a_client_brings_is_taken_once(agenda: httpx.Client) -> None:
    first = agenda.post(CALENDARS, json={"name": "Home", "id": 500_000})
    second = agenda.post(CALENDARS, json={"name": "Home", "id": 500_000})
    third = a_calendar(agenda)

    assert (first.status_code, first.json()["id"]) == (201, 500_000)
    assert is_problem(second, 409, "id-taken")
    assert third["id"] > 500_000


def test_a_patch_changes_what_it_names_and_nothing_else(agenda: httpx.Client) -> None:
    zone = {"id": "Europe/Paris", "name": "Paris", "tzdata": None}
    calendar = a_calendar(agenda, color="#123456", description="Mine", timezone=zone)

    answer = agenda.patch(f"{CALENDARS}{calendar['id']}", json={"description": None, "visibility": "public"})

    changed = {**calendar, "description": None, "visibility": "public", "updatedAt": answer.json()["updatedAt"]}
    assert answer.json() == changed
    assert agenda.get(f"{CALENDARS}{calendar['id']}").json() == changed
    assert is_problem(agenda.patch(f"{CALENDARS}{calendar['id']}", json={"id": 7}), 400, "validation-failed")


def test_an_owner_has_one_primary_calendar(agenda: httpx.Client) -> None:
    first, second = a_calendar(agenda, isPrimary=True), a_calendar(agenda, isPrimary=True)

    primary = {calendar["id"]: calendar["isPrimary"] for calendar in agenda.get(CALENDARS).json()["items"]}

    assert primary == {first["id"]: False, second["id"]: True}


def test_lists_come_in_pages(agenda: httpx.Client) -> None:
    made = [a_calendar(agenda) for _ in range(3)]

    page = agenda.get(CALENDARS, params={"limit": 2, "offset": 1}).json()

    assert page == {"items": made[1:], "total": 3, "limit": 2, "offset": 1}
    assert is_problem(agenda.get(CALENDARS, params={"limit": 101}), 400, "validation-failed")


def test_a_deleted_calendar_takes_its_components_along(agenda: httpx.Client) -> None:
    calendar = a_calendar(agenda)
    component = a_component(agenda, calendar)

    answer = agenda.delete(f"{CALENDARS}{calendar['id']}")

    assert (answer.status_code, answer.content) == (204, b"")
    assert agenda.get(f"{CALENDARS}{calendar['id']}").status_code == 404
    assert agenda.get(f"{COMPONENTS}{component['id']}", headers=ADMIN).status_code == 404


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"summary": ""}, id="no summary"),
        pytest.param({"dtstart": "yesterday"}, id="no time"),
        pytest.param({"dtstart": "2026-01-02T00:00:00Z", "dtend": "2026-01-01T00:00:00Z"}, id="backwards"),
        pytest.param({"dtstart": "0001-01-01T00:00:00+14:00"}, id="before the first year"),
        pytest.param({"priority": 10}, id="a priority out of range"),
        pytest.param({"categoryId": 999_999}, id="an unknown category"),
        pytest.param({"kind": "event"}, id="an unknown key"),
    ],
)
def test_a_component_that_is_none_is_refused(agenda: httpx.Client, fields: dict[str, object]) -> None:
    calendar = a_calendar(agenda)

    answer = agenda.post(COMPONENTS, json={"calendarId": calendar["id"], "summary": "Tea", **fields})

    assert is_problem(answer, 400, "validation-failed")


def test_a_component_keeps_what_it_was_given_with_times_in_utc(agenda: httpx.Client) -> None:
    calendar = a_calendar(agenda)
    given = {
        "summary": "Standup",
        "componentType": "event",
        "categoryId": 1,
        "description": "Daily",
        "isRecurring": True,
        "recurrenceId": "r-1",
        "status": "CONFIRMED",
        "priority": 5,
        "hasDependencies": True,
        "hasDependentTasks": False,
    }

    component = a_component(
        agenda, calendar, **given, dtstart="2026-11-21T10:00:00+02:00", dtend="2026-11-21T08:15:00.5"
    )

    assert {key: component[key] for key in given} == given
    assert (component["dtstart"], component["dtend"]) == ("2026-11-21T08:00:00Z", "2026-11-21T08:15:00.500000Z")
    assert agenda.get(f"{COMPONENTS}{component['id']}").json() == component


def test_a_component_changes_partly_and_moves_within_reach_only(agenda: httpx.Client) -> None:
    here, there = a_calendar(agenda), a_calendar(agenda)
    component = a_component(agenda, here, dtstart="2026-11-21T08:00:00Z")
    agenda.headers.update(as_user("someone-else"))
    foreign = a_calendar(agenda)
    agenda.headers.update(as_user(here["userId"]))
    path = f"{COMPONENTS}{component['id']}"

    moved = agenda.patch(path, json={"calendarId": there["id"], "status": "DONE"})
    backwards = agenda.patch(path, json={"dtend": "2026-11-21T07:00:00Z"})
    away = agenda.patch(path, json={"calendarId": foreign["id"]})

    expected = {**component, "calendarId": there["id"], "status": "DONE", "updatedAt": moved.json()["updatedAt"]}
    assert moved.json() == expected
    assert is_problem(backwards, 400, "validation-failed")
    assert is_problem(away, 404, "not-found")
    assert agenda.get(path).json() == expected


def test_a_deleted_component_is_gone(agenda: httpx.Client) -> None:
    component = a_component(agenda, a_calendar(agenda))

    answer = agenda.delete(f"{COMPONENTS}{component['id']}")

    assert answer.status_code == 204
    assert agenda.delete(f"{COMPONENTS}{component['id']}").status_code == 404


@pytest.mark.parametrize(
    "query",
    [
        pytest.param({"start_date": "2026-01-01"}, id="no end"),
        pytest.param({"start_date": "soon", "end_date": "2026-01-01"}, id="no date"),
        pytest.param({"start_date": "2026-01-02T00:00:00", "end_date": "2026-01-02T00:00:00"}, id="empty"),
        pytest.param({"start_date": "2026-01-02", "end_date": "9999-12-31"}, id="beyond the calendar"),
    ],
)
def test_a_range_that_is_none_is_refused(agenda: httpx.Client, query: dict[str, str]) -> None:
    answer = agenda.get(BY_RANGE, params=query)

    assert is_problem(answer, 400, "validation-failed")


@pytest.mark.parametrize(
    ("start", "end", "is_found"),
    [
        pytest.param("2026-03-10", "2026-03-10", True, id="its day"),
        pytest.param("2026-03-10T11:00:00Z", "2026-03-10T11:30:00Z", True, id="within it"),
        pytest.param("2026-03-10T12:00:00Z", "2026-03-11", False, id="from its end"),
        pytest.param("2026-03-09", "2026-03-10T10:00:00Z", False, id="until its start"),
        pytest.param("2026-03-10T12:30:00+02:00", "2026-03-10T13:00:00+02:00", True, id="in another offset"),
        pytest.param("2026-03-11", "2026-03-12", False, id="days later"),
    ],
)
def test_a_range_finds_what_overlaps_it(agenda: httpx.Client, start: str, end: str, is_found: bool) -> None:  # noqa: FBT001 -- an expectation
    component = a_component(agenda, a_calendar(agenda), dtstart="2026-03-10T10:00:00Z", dtend="2026-03-10T12:00:00Z")

    page = agenda.get(BY_RANGE, params={"start_date": start, "end_date": end}).json()

    assert page == {"items": [component] if is_found else [], "total": int(is_found), "limit": 20, "offset": 0}


def test_a_range_is_in_order_and_counts_due_dates_and_moments(agenda: httpx.Client) -> None:
    calendar, other = a_calendar(agenda), a_calendar(agenda)
    due = a_component(agenda, calendar, summary="Due", dtend="2026-03-10T18:00:00Z")
    moment = a_component(agenda, calendar, summary="Moment", dtstart="2026-03-10T00:00:00Z")
    a_component(agenda, calendar, summary="Some day")
    elsewhere = a_component(agenda, other, dtstart="2026-03-10T09:00:00Z")
    day = {"start_date": "2026-03-10", "end_date": "2026-03-10"}

    everything = agenda.get(BY_RANGE, params=day).json()
    one = agenda.get(BY_RANGE, params={**day, "calendar_id": calendar["id"]}).json()

    assert everything["items"] == [moment, elsewhere, due]
    assert one["items"] == [moment, due]


def test_categories_are_everybodys_and_ones_own(agenda: httpx.Client) -> None:
    own = agenda.post(CATEGORIES, json={"name": "Chess", "color": "#000000", "parentId": 2})
    mine = agenda.get(CATEGORIES).json()["items"]
    theirs = agenda.get(CATEGORIES, headers=as_user("stranger")).json()["items"]

    assert own.status_code == 201
    assert [category["name"] for category in theirs if category["isSystem"]] == [
        "Work",
        "Personal",
        "Health",
        "Learning",
        "Family",
    ]
    assert [category for category in mine if category not in theirs] == [own.json()]
    assert is_problem(agenda.post(CATEGORIES, json={"name": "chess"}), 409, "name-taken")
    assert is_problem(agenda.post(CATEGORIES, json={"name": "B", "parentId": 9999}), 400, "validation-failed")


def test_what_was_stored_outlives_a_restart(tmp_path: Path) -> None:
    with running("agenda", tmp_path, headers=as_user("7")) as program:
        calendar = a_calendar(program.client)
        component = a_component(program.client, calendar)
        program.client.put("/api/v1/files/a.txt", content=b"kept")
        program.process.kill()
        program.process.wait(10)

    with running("agenda", tmp_path, headers=as_user("7")) as program:
        calendars = program.client.get(CALENDARS).json()["items"]
        components = program.client.get(f"{COMPONENTS}{component['id']}").json()
        file = program.client.get("/api/v1/files/a.txt").content
        categories = program.client.get(CATEGORIES).json()["total"]

    assert (calendars, components, file, categories) == ([calendar], component, b"kept", 5)
