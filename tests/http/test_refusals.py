"""Who is kept out of each endpoint, and what each says to what it cannot read: before any test of what they do."""

from pathlib import Path

import httpx
import pytest
from litestar import Litestar
from litestar.routes import HTTPRoute

from app.main import create_app
from tests.builders import some_settings
from tests.http.calls import as_, fields_of, open_chat, somebody
from tests.http.desk import Desk, a_desk
from tests.http.endpoints import ENDPOINTS, OPEN_TO_ALL, OPENAI, PROTOCOLS, SIGNED, VISITED, Endpoint

ABOUT_ONE = [endpoint for endpoint in ENDPOINTS if endpoint.is_about_one]
NO_IDS = (
    *("abc", "-1", "1e3", "1.0", "+1", "%2B1", "%201", "1%20", "1_0", "007", "0x1", "%D9%A1", "%C2%B2"),
    *("9" * 5000, str(2**63), str(10**30)),
)
TAKES_SOMETHING = [endpoint for endpoint in ENDPOINTS if endpoint.malformed is not None]


@pytest.fixture(scope="module")
def desk(gateway_url: str) -> Desk:
    with httpx.Client(base_url=gateway_url) as caller:
        return a_desk(caller)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Litestar:
    """The gateway, put together but not started."""
    folder: Path = tmp_path_factory.mktemp("unstarted")
    return create_app(some_settings(folder, dsn="postgresql+asyncpg://nobody@127.0.0.1:9/nothing"))


def test_every_endpoint_has_a_row_in_the_table(app: Litestar) -> None:
    routes = [route for route in app.routes if isinstance(route, HTTPRoute) and not route.path.startswith("/docs")]
    served = {(method, route.path_format) for route in routes for method in route.methods if method != "OPTIONS"}

    listed = {
        (one.method, one.path.rstrip("/")) for one in (*ENDPOINTS, *OPEN_TO_ALL, *OPENAI, *SIGNED, *VISITED, *PROTOCOLS)
    }

    assert served == listed


def test_no_path_leaves_reading_an_id_to_litestar(app: Litestar) -> None:
    """Its `int` takes "+1", "1_0" and other scripts' digits; `guard_ids` looks at the text."""
    assert [route.path for route in app.routes if ":int" in route.path] == []


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=str)
def test_an_anonymous_caller_is_refused(caller: httpx.Client, desk: Desk, endpoint: Endpoint) -> None:
    answer = desk.send(caller, endpoint, {})

    assert answer.status_code == 401
    assert answer.json()["type"] == "token-missing"
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=str)
def test_the_wrong_role_is_refused(caller: httpx.Client, desk: Desk, endpoint: Endpoint) -> None:
    answer = desk.send(caller, endpoint, as_(desk.owner, endpoint.wrong_role))

    assert answer.status_code == 403
    assert answer.json()["type"] == "role-not-allowed"


@pytest.mark.parametrize("endpoint", ABOUT_ONE, ids=str)
def test_another_persons_is_not_found(caller: httpx.Client, desk: Desk, endpoint: Endpoint) -> None:
    answer = desk.send(caller, endpoint, as_(somebody()))

    assert answer.status_code == 404
    assert answer.json()["type"] == f"{endpoint.noun}-not-found"


@pytest.mark.parametrize("endpoint", TAKES_SOMETHING, ids=str)
def test_what_is_malformed_is_refused_by_its_name(caller: httpx.Client, desk: Desk, endpoint: Endpoint) -> None:
    answer = desk.send_malformed(caller, endpoint, as_(desk.owner, endpoint.right_role))

    assert answer.status_code == 400
    assert answer.json()["type"] == "validation-failed"
    assert fields_of(answer) == [endpoint.flawed]


@pytest.mark.parametrize("endpoint", OPEN_TO_ALL, ids=str)
def test_what_is_public_asks_for_no_token(caller: httpx.Client, endpoint: Endpoint) -> None:
    answer = caller.request(endpoint.method, endpoint.path)

    assert answer.status_code in {200, 204}


@pytest.mark.parametrize("text", NO_IDS, ids=lambda text: text[:12])
@pytest.mark.parametrize("path", ["/api/v1/chats/{}", "/api/v1/messages/{}", "/api/v1/chats/{}/messages"])
def test_an_id_is_a_plain_number(caller: httpx.Client, path: str, text: str) -> None:
    answer = caller.get(path.format(text), headers=as_(somebody()))

    assert answer.status_code == 400
    assert fields_of(answer) == ["message_id" if "messages/{}" in path else "chat_id"]


@pytest.mark.parametrize("text", ["0", str(2**63 - 1)])
def test_a_number_that_is_nobodys_id_is_not_found(caller: httpx.Client, text: str) -> None:
    answer = caller.get(f"/api/v1/chats/{text}", headers=as_(somebody()))

    assert answer.status_code == 404


def test_a_digit_may_come_percent_encoded(caller: httpx.Client) -> None:
    """It is the same path (RFC 3986, 6.2.2.2)."""
    owner = somebody()
    chat_id = open_chat(caller, owner)["id"]

    answer = caller.get("/api/v1/chats/" + "".join(f"%{ord(digit):x}" for digit in str(chat_id)), headers=as_(owner))

    assert answer.status_code == 200
    assert answer.json()["id"] == chat_id
