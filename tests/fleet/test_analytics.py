from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tests.fleet.programs import as_user, is_problem, running

SNAPSHOT = "/api/v1/snapshot/"
FIRST_PATH = "/v1/snapshot"
HOOK = {"Authorization": "Bearer hook-secret"}


@pytest.fixture(scope="module")
def analytics(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with running("analytics", tmp_path_factory.mktemp("analytics"), env={"HOOK_TOKEN": "hook-secret"}) as program:
        yield program.client


@pytest.mark.parametrize("path", [SNAPSHOT, "/api/v1/snapshot/counts"])
def test_reading_is_for_those_the_gateway_names(analytics: httpx.Client, path: str) -> None:
    answer = analytics.get(path)

    assert is_problem(answer, 401, "unauthenticated")


@pytest.mark.parametrize("path", [SNAPSHOT, FIRST_PATH])
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer guess"}, {"Authorization": "hook-secret"}])
def test_reporting_needs_the_hooks_token_or_a_user(analytics: httpx.Client, path: str, headers: dict[str, str]) -> None:
    answer = analytics.post(path, json={"user_id": 1, "message": "hello"}, headers=headers)

    assert is_problem(answer, 401, "unauthenticated")


def test_a_user_does_not_speak_for_another(analytics: httpx.Client) -> None:
    answer = analytics.post(SNAPSHOT, json={"user_id": 1, "message": "hello"}, headers=as_user("2"))

    assert is_problem(answer, 403, "not-allowed")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"message": "hello"}, "user_id"),
        ({"user_id": True, "message": "hello"}, "user_id"),
        ({"user_id": "", "message": "hello"}, "user_id"),
        ({"user_id": "u" * 256, "message": "hello"}, "user_id"),
        ({"user_id": 1, "message": ""}, "message"),
        ({"user_id": 1, "message": "m" * 200_001}, "message"),
        ({"user_id": 1, "message": "hello", "chat_id": 0}, "chat_id"),
    ],
)
def test_a_report_that_is_none_names_the_field(analytics: httpx.Client, body: dict[str, object], field: str) -> None:
    answer = analytics.post(SNAPSHOT, json=body, headers=HOOK)

    assert is_problem(answer, 400, "validation-failed")
    assert field in answer.json()["detail"]


@pytest.mark.parametrize("path", [SNAPSHOT, FIRST_PATH])
def test_the_hook_reports_for_anybody(analytics: httpx.Client, path: str) -> None:
    body = {"user_id": 41, "message": "hello", "chat_id": 3, "a_later_member": 1}

    answer = analytics.post(path, json=body, headers=HOOK)

    snapshot = answer.json()
    assert answer.status_code == 201
    assert (snapshot["user_id"], snapshot["message"], snapshot["chat_id"]) == ("41", "hello", 3)


def test_a_user_sees_their_own_newest_first_and_staff_sees_all(analytics: httpx.Client) -> None:
    user, stranger = uuid4().hex, uuid4().hex
    first, second = (
        analytics.post(SNAPSHOT, json={"user_id": user, "message": text}, headers=as_user(user)).json()
        for text in ("one", "two")
    )

    own = analytics.get(SNAPSHOT, headers=as_user(user)).json()
    page = analytics.get(SNAPSHOT, params={"limit": 1, "offset": 1}, headers=as_user(user)).json()
    none = analytics.get(SNAPSHOT, headers=as_user(stranger)).json()
    everything = analytics.get(SNAPSHOT, headers=as_user(stranger, "manager")).json()

    assert own == {"items": [second, first], "total": 2, "limit": 20, "offset": 0}
    assert page == {"items": [first], "total": 2, "limit": 1, "offset": 1}
    assert none["items"] == []
    assert everything["items"][:2] == [second, first]


def test_counts_are_ones_own_and_everybodys_for_staff(analytics: httpx.Client) -> None:
    user, other = uuid4().hex, uuid4().hex
    for who in (user, user, other):
        analytics.post(SNAPSHOT, json={"user_id": who, "message": "hello"}, headers=HOOK)

    own = analytics.get("/api/v1/snapshot/counts", headers=as_user(user)).json()
    everybody = analytics.get("/api/v1/snapshot/counts?limit=100", headers=as_user("1", "admin")).json()

    assert own["items"] == [{"user_id": user, "count": 2}]
    assert {"user_id": user, "count": 2} in everybody["items"]
    assert {"user_id": other, "count": 1} in everybody["items"]


def test_without_a_token_reports_are_open_and_outlive_a_restart(tmp_path: Path) -> None:
    with running("analytics", tmp_path, env={"HOOK_TOKEN": ""}) as program:
        answer = program.client.post(FIRST_PATH, json={"user_id": "7", "message": "hello"})
        assert answer.status_code == 201
        assert program.stop() == 0

    with running("analytics", tmp_path) as program:
        page = program.client.get(SNAPSHOT, headers=as_user("7")).json()

    assert page["items"] == [answer.json()]
