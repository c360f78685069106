"""Every refusal is a problem document (RFC 9457), and what goes wrong with us says nothing of how we are made."""

import json
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from dishka import Provider, Scope
from sqlalchemy import text
from structlog.testing import capture_logs

from app.features.chats.domain.chat import Chat, NewChat
from app.features.chats.ports import ChatStore
from app.features.chats.repository.chats import PostgresChatStore
from app.infra.db.engine import session_of
from app.kernel.transaction import Tx
from tests.builders import a_token, some_settings
from tests.gateway import running_gateway
from tests.http.calls import as_, open_chat, somebody
from tests.http.events import Event, wait_for

type Events = list[Event]

STATEMENTS = {
    "wrong": "SELECT password FROM no_such_table",
    "contradicted": "INSERT INTO messages (chat_id, role, content, status) VALUES (0, 'user', 'hello', 'complete')",
}


class BrokenChatStore(PostgresChatStore):
    """Goes wrong in the way that a new chat's title says."""

    async def add(self, tx: Tx, draft: NewChat) -> Chat:
        if draft.title == "bug":
            raise RuntimeError("the password is swordfish")
        if draft.title == "away":
            raise ConnectionRefusedError("db.internal:5432 refused")
        if draft.title in STATEMENTS:
            await session_of(tx).execute(text(STATEMENTS[draft.title]))
        return await super().add(tx, draft)


@pytest.fixture(scope="module")
def gateway_url(migrated_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Debugging is on: it may add to the log, never to an answer."""
    broken = Provider(scope=Scope.APP)
    broken.provide(BrokenChatStore, provides=ChatStore)
    settings = some_settings(tmp_path_factory.mktemp("gateway"), dsn=migrated_dsn, debug=True, log_level=20)
    with capture_logs(), running_gateway(settings, broken) as url:
        yield url


@pytest.fixture
def events() -> Iterator[Events]:
    with capture_logs() as events:
        yield events


REFUSED = [
    ("GET", "/nowhere", 404, "route-not-found"),
    ("GET", "/api/v1/nowhere", 404, "route-not-found"),
    ("GET", "/api/v1/nowhere/", 404, "route-not-found"),
    ("GET", "/api/v1/nowhere/gr%C3%BC%C3%9Fe?a=1", 404, "route-not-found"),
    ("GET", "/api/v1/agents/nobody", 404, "agent-not-found"),
    ("GET", "/api/v1/chats/0", 404, "chat-not-found"),
    ("DELETE", "/api/v1/messages/0", 404, "message-not-found"),
    ("PATCH", "/api/v1/chats/", 405, "method-not-allowed"),
    ("POST", "/openapi.json", 405, "method-not-allowed"),
    ("GET", "/api/v1/chats/?pageSize=x", 400, "validation-failed"),
    ("PUT", "/api/v1/chats/1", 400, "validation-failed"),
    ("GET", "/api/v1//chats", 400, "path-not-allowed"),
    ("GET", "/api/v1/%2e%2e/chats", 400, "path-not-allowed"),
    ("GET", "/api/v1/messages/", 403, "role-not-allowed"),
    ("GET", "/api/v1/chats/?user_id=2", 403, "forbidden"),
    ("GET", "/api/v1/chats/?" + "a" * 9000, 414, "target-too-long"),
]


@pytest.mark.parametrize(("method", "target", "status", "type_"), REFUSED, ids=lambda value: str(value)[:40])
def test_a_refusal_is_a_problem_document(
    client: httpx.Client, method: str, target: str, status: int, type_: str
) -> None:
    answer = client.request(method, target, headers=as_(somebody()))

    problem = answer.json()
    assert answer.status_code == problem["status"] == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["type"] == type_
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert problem["instance"] == target.partition("?")[0]
    assert set(problem) - {"errors"} == {"type", "title", "status", "detail", "instance", "request_id"}


def test_unreadable_json_is_malformed(client: httpx.Client) -> None:
    answer = client.post("/api/v1/chats/", content=b"{", headers=as_(somebody()))

    assert (answer.status_code, answer.json()["type"]) == (400, "malformed")


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/api/v1/chats/", {"GET", "POST", "OPTIONS"}),
        ("/api/v1/chats/1", {"GET", "PUT", "DELETE", "OPTIONS"}),
        ("/api/v1/messages/1/exchange", {"POST", "OPTIONS"}),
        ("/openapi.json", {"GET"}),
        ("/api/health/ready", {"GET"}),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(client: httpx.Client, path: str, allowed: set[str]) -> None:
    answer = client.patch(path, headers=as_(somebody()))

    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == allowed
    assert answer.json()["detail"] == f"This path takes {answer.headers['allow']}."


def test_a_bug_of_ours_shows_the_client_nothing_and_the_log_everything(client: httpx.Client, events: Events) -> None:
    answer = client.post("/api/v1/chats/", json={"title": "bug"}, headers=as_(somebody()))

    logged = wait_for(events, "request.failed", request_id=answer.headers["x-request-id"])
    line = wait_for(events, "request.answered", request_id=answer.headers["x-request-id"])
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "internal"
    assert answer.json()["detail"] == "The error was logged under this request id."
    assert not [word for word in ("swordfish", "RuntimeError", "Traceback", ".py") if word in answer.text]
    assert isinstance(logged["exc_info"], RuntimeError)
    assert (line["status"], line["reason"]) == (500, "internal")


def test_a_drivers_error_shows_the_client_no_statement(client: httpx.Client, events: Events) -> None:
    answer = client.post("/api/v1/chats/", json={"title": "wrong"}, headers=as_(somebody()))

    logged = wait_for(events, "request.failed", request_id=answer.headers["x-request-id"])
    assert (answer.status_code, answer.json()["type"]) == (500, "internal")
    assert not [word for word in ("SELECT", "password", "no_such_table", "asyncpg", "sqlalche") if word in answer.text]
    assert "no_such_table" in str(logged["exc_info"])


def test_what_the_database_refuses_is_a_conflict(client: httpx.Client, events: Events) -> None:
    answer = client.post("/api/v1/chats/", json={"title": "contradicted"}, headers=as_(somebody()))

    line = wait_for(events, "request.answered", request_id=answer.headers["x-request-id"])
    assert (answer.status_code, answer.json()["type"]) == (409, "storage-conflict")
    assert not [word for word in ("INSERT", "foreign key", "messages_chat", "asyncpg") if word in answer.text]
    assert "fk_messages" in line["cause"]


def test_a_database_that_refuses_is_unavailable_for_a_moment(client: httpx.Client, events: Events) -> None:
    answer = client.post("/api/v1/chats/", json={"title": "away"}, headers=as_(somebody()))

    line = wait_for(events, "request.answered", request_id=answer.headers["x-request-id"])
    assert (answer.status_code, answer.json()["type"]) == (503, "storage-unavailable")
    assert answer.headers["retry-after"] == "1"
    assert "db.internal" not in answer.text
    assert "db.internal" in line["cause"]


def test_an_error_leaves_the_gateway_as_it_was(client: httpx.Client) -> None:
    owner = somebody()
    for title in ("bug", "wrong", "contradicted", "away") * 10:
        client.post("/api/v1/chats/", json={"title": title}, headers=as_(owner))

    assert open_chat(client, owner, title="fine")["title"] == "fine"


@pytest.mark.parametrize("framing", ["content-length: 100", "transfer-encoding: chunked"])
def test_a_client_that_leaves_inside_its_body_is_no_error_of_ours(
    gateway_url: str, events: Events, framing: str
) -> None:
    address = urlsplit(gateway_url)
    path = f"/api/v1/chats/?left={framing[:7]}"
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {a_token()}\r\n{framing}\r\n\r\n"
    part = b'{"ti' if "length" in framing else b'4\r\n{"ti\r\n'

    with socket.create_connection((address.hostname, address.port)) as caller:
        caller.sendall(head.encode() + part)
        caller.shutdown(socket.SHUT_WR)
        caller.recv(1)

    wait_for(events, "request.answered", path="/api/v1/chats/", reason="client_gone")
    assert [event for event in events if event["event"] == "request.failed"] == []


def test_a_problem_is_plain_json_in_utf_8(client: httpx.Client) -> None:
    answer = client.post("/api/v1/chats/", content='{"größe 😀": 1}'.encode(), headers=as_(somebody()))

    assert json.loads(answer.content.decode("utf-8"))["errors"][0]["field"] == "größe 😀"
