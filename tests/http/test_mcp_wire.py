"""`/mcp` byte for byte: who may knock, what a request of each era must say, and what a refusal looks like."""

import base64
import json
from collections.abc import Iterator, Mapping

import httpx
import pytest

from app.surfaces.mcp.eras import CAPABILITIES_MEMBER, SERVER_MEMBER, VERSION_MEMBER
from tests.builders import some_settings
from tests.gateway import running_gateway
from tests.http.calls import Json, as_

NEW = "2026-07-28"
META = {VERSION_MEMBER: NEW, CAPABILITIES_MEMBER: {}}
PLACED = {"mcp-protocol-version": NEW}


@pytest.fixture(scope="module")
def gateway_url(migrated_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    origins = ("https://app.example",)
    settings = some_settings(tmp_path_factory.mktemp("gateway"), dsn=migrated_dsn, cors_origins=origins)
    with running_gateway(settings) as url:
        yield url


def call(method: str, id_: object = 1, **params: object) -> Json:
    return {"jsonrpc": "2.0", "id": id_, "method": method, "params": params}


def new(method: str, **fields: str) -> dict[str, str]:
    return {**PLACED, "mcp-method": method, **fields}


def post(caller: httpx.Client, body: object, headers: Mapping[str, str] | None = None) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"content-type": "application/json", "accept": "application/json, text/event-stream", **as_("ann")}
    return caller.post("/mcp", content=content, headers={**sent, **(headers or {})})


def test_nobody_enters_without_a_token(caller: httpx.Client) -> None:
    answer = caller.post("/mcp", json=call("ping"))

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("role", ["guest", "nobody"])
def test_who_is_not_common_is_refused(caller: httpx.Client, role: str) -> None:
    assert caller.post("/mcp", json=call("ping"), headers=as_("ann", role)).status_code == 403


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_there_is_no_stream_and_no_session_to_open_or_end(caller: httpx.Client, method: str) -> None:
    answer = caller.request(method, "/mcp", headers={**as_("ann"), "accept": "text/event-stream"})

    assert answer.status_code == 405
    assert "POST" in answer.headers["allow"]


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://evil.example", 403),
        ("null", 403),
        ("https://localhost.evil.example", 403),
        ("https://app.example", 200),
        ("http://localhost:6274", 200),
        ("http://127.0.0.1:1", 200),
        ("http://[::1]:1", 200),
    ],
)
def test_pages_of_other_origins_are_refused(caller: httpx.Client, origin: str, status: int) -> None:
    assert post(caller, call("ping"), {"origin": origin}).status_code == status


@pytest.mark.parametrize(
    ("wanted", "given"), [("2025-06-18", "2025-06-18"), ("2025-11-25", "2025-11-25"), ("1999-01-01", "2025-11-25")]
)
def test_a_handshake_agrees_on_a_version(caller: httpx.Client, wanted: str, given: str) -> None:
    answer = post(caller, call("initialize", protocolVersion=wanted, capabilities={}, clientInfo={"name": "a"}))

    result = answer.json()["result"]
    assert (result["protocolVersion"], result["capabilities"]) == (given, {"tools": {}})
    assert result["serverInfo"]["name"] == "portico"
    assert "mcp-session-id" not in answer.headers


def test_a_discovery_tells_the_versions_and_who_answers(caller: httpx.Client) -> None:
    answer = post(caller, call("server/discover", _meta=META), new("server/discover"))

    result = answer.json()["result"]
    assert (result["supportedVersions"], result["resultType"]) == ([NEW], "complete")
    assert result["_meta"][SERVER_MEMBER]["name"] == "portico"


@pytest.mark.parametrize("headers", [{}, PLACED], ids=["handshake", "stateless"])
def test_a_notification_is_taken_and_not_answered(caller: httpx.Client, headers: Mapping[str, str]) -> None:
    answer = post(caller, {"jsonrpc": "2.0", "method": "notifications/initialized"}, headers)

    assert (answer.status_code, answer.content) == (202, b"")


CURSOR = base64.urlsafe_b64encode(b"9999").decode()


@pytest.mark.parametrize(
    ("body", "status", "code", "id_"),
    [
        (b"{", 400, -32700, None),
        (b"\xff", 400, -32700, None),
        (b"[" * 100_000, 400, -32700, None),
        ([call("ping")], 400, -32600, None),
        ("ping", 400, -32600, None),
        ({"id": 1, "method": "ping"}, 200, -32600, 1),
        ({**call("ping"), "id": None}, 400, -32600, None),
        ({**call("ping"), "id": 1.5}, 400, -32600, None),
        ({**call("ping"), "params": []}, 200, -32602, 1),
        (call("no/such"), 200, -32601, 1),
        (call("server/discover"), 200, -32601, 1),
        (call("tools/call", "a"), 200, -32602, "a"),
        (call("tools/call", name="no_such"), 200, -32602, 1),
        (call("tools/call", name="list_agents", arguments=[]), 200, -32602, 1),
        (call("tools/list", cursor="x"), 200, -32602, 1),
        (call("tools/list", cursor=7), 200, -32602, 1),
        (call("tools/list", cursor=CURSOR), 200, -32602, 1),
    ],
)
def test_what_is_no_request_is_refused_in_json(
    caller: httpx.Client, body: object, status: int, code: int, id_: object
) -> None:
    answer = post(caller, body)

    assert (answer.status_code, answer.json()["error"]["code"], answer.json()["id"]) == (status, code, id_)


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (call("tools/list"), new("tools/list"), 400, -32602),
        (call("tools/list", _meta={VERSION_MEMBER: NEW}), new("tools/list"), 400, -32602),
        (call("tools/list", _meta=META), PLACED, 400, -32020),
        (call("tools/list", _meta=META), new("tools/call"), 400, -32020),
        (
            call("tools/list", _meta=META),
            {"mcp-protocol-version": "2027-01-01", "mcp-method": "tools/list"},
            400,
            -32020,
        ),
        (
            call("tools/list", _meta={**META, VERSION_MEMBER: "2027-01-01"}),
            {"mcp-protocol-version": "2027-01-01", "mcp-method": "tools/list"},
            400,
            -32022,
        ),
        (call("tools/call", _meta=META, name="a"), new("tools/call", **{"mcp-name": "b"}), 400, -32020),
        (call("tools/call", _meta=META, name="a"), new("tools/call", **{"mcp-name": "=?base64?YQ=?="}), 400, -32020),
        (call("ping", _meta=META), new("ping"), 404, -32601),
        (call("initialize", _meta=META), new("initialize"), 404, -32601),
    ],
)
def test_what_the_newer_era_asks_for_is_asked_for(
    caller: httpx.Client, body: Json, headers: Mapping[str, str], status: int, code: int
) -> None:
    answer = post(caller, body, headers)

    assert (answer.status_code, answer.json()["error"]["code"], answer.json()["id"]) == (status, code, 1)


def test_a_name_may_be_wrapped(caller: httpx.Client) -> None:
    wrapped = f"=?base64?{base64.b64encode(b'list_agents').decode()}?="

    answer = post(
        caller, call("tools/call", _meta=META, name="list_agents"), new("tools/call", **{"mcp-name": wrapped})
    )

    assert answer.json()["result"]["isError"] is False


def test_a_body_beyond_the_limit_is_refused(caller: httpx.Client) -> None:
    assert post(caller, b" " * (1024 * 1024 + 1)).status_code == 413
