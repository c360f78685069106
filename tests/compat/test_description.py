"""The demo's `/openapi.json`: one description of the gateway and all of its services."""

from typing import Any

import httpx
import pytest

from tests.compat.conftest import Caller
from tests.e2e.program import Program

# Any: a JSON document, whose shape is what the tests are about
type Json = dict[str, Any]


@pytest.fixture
def document(visitor: httpx.Client, demo: Program) -> Json:
    def has_all() -> bool:
        return len(visitor.get("/openapi.json").json()["tags"]) == 3

    demo.awaits(has_all)
    found: Json = visitor.get("/openapi.json").json()
    return found


@pytest.mark.parametrize(
    ("path", "method", "access", "upstream"),
    [
        ("/api/v1/auth/sessions", "post", "PUBLIC", "auth"),
        ("/api/v1/auth/sessions", "delete", "COMMON", "auth"),
        ("/api/v1/auth/users/register", "post", "PUBLIC", "auth"),
        ("/api/v1/auth/users/me", "get", "COMMON", "auth"),
        ("/api/v1/agenda/calendars/{calendar_id}", "patch", "COMMON", "agenda"),
        ("/api/v1/snapshot/counts", "get", "COMMON", "analytics"),
        ("/api/v1/chats", "post", "COMMON", None),
        ("/api/health/ping", "get", "PUBLIC", None),
    ],
)
def test_the_description_has_every_service_at_its_front_door_paths(
    document: Json, path: str, method: str, access: str, upstream: str | None
) -> None:
    operation = document["paths"][path][method]

    assert (operation["x-portico-access"], operation.get("x-portico-upstream")) == (access, upstream)


def test_every_get_without_a_parameter_answers_as_it_is_described(document: Json, caller: Caller) -> None:
    asked = caller("admin")
    plain = [
        (path, item["get"])
        for path, item in document["paths"].items()
        if "get" in item and not any(one.get("required") for one in item["get"]["parameters"])
    ]

    answers = {path: asked.get(path, follow_redirects=False).status_code for path, _ in plain if "stream" not in path}

    assert len(answers) > 10
    assert {path for path, status in answers.items() if str(status) not in dict(plain)[path]["responses"]} == set()
    assert {path for path, status in answers.items() if status >= 500} == set()
