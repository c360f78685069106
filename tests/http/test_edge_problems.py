"""What the edge answers by itself, provoked over HTTP: one test a type, for `docs/errors.md` to point at."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from socketserver import BaseRequestHandler, ThreadingTCPServer
from urllib.parse import urlsplit

import httpx
import pytest
from dishka import Provider, Scope
from structlog.testing import capture_logs

from app.edge.edge import Edge
from tests.builders import a_token, bearer, some_settings
from tests.gateway import running_gateway
from tests.http.events import wait_for

PATIENCE_S = 15
IMPATIENCE_S = 0.3
UPSTREAMS = ("refusing", "broken", "silent", "crowded", "endless")


class Upstream(BaseRequestHandler):
    """Misbehaves as the path says, until the gateway has closed the connection."""

    def handle(self) -> None:
        head = self.request.recv(65536)
        if b"/broken" in head:
            self.request.sendall(b"this is not HTTP\r\n\r\n")
        while b"/endless" in head:
            try:
                self.request.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + b"a" * 65536)
            except OSError:
                return
        while self.request.recv(65536):
            pass


@pytest.fixture(scope="module")
def upstream_port() -> Iterator[int]:
    with ThreadingTCPServer(("127.0.0.1", 0), Upstream) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield server.server_address[1]
        server.shutdown()
        serving.join(PATIENCE_S)


def impatient() -> Provider:
    """An edge that waits for a client as short as a test can."""

    def shorten(edge: Edge) -> Edge:
        edge.options = replace(edge.options, body_idle_s=IMPATIENCE_S, client_write_s=IMPATIENCE_S)
        return edge

    provider = Provider(scope=Scope.APP)
    provider.decorate(shorten)
    return provider


@pytest.fixture(scope="module")
def gateway_url(migrated_dsn: str, upstream_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    rows: dict[str, dict[str, object]] = {
        name: {"url": f"http://127.0.0.1:{upstream_port}", "response_timeout_s": PATIENCE_S, "retries": 0}
        for name in UPSTREAMS
    }
    rows["refusing"]["url"] = f"http://127.0.0.1:{closed_port()}"
    rows["silent"]["response_timeout_s"] = IMPATIENCE_S
    rows["crowded"] |= {"max_connections": 1, "response_timeout_s": 2}
    routes: tuple[dict[str, object], ...] = tuple({"prefix": f"/{name}", "upstream": name} for name in UPSTREAMS)
    settings = some_settings(
        tmp_path_factory.mktemp("gateway"), dsn=migrated_dsn, upstreams={**rows}, routes=routes, log_level=20
    )
    with capture_logs(), running_gateway(settings, impatient()) as url:
        yield url


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port: int = bound.getsockname()[1]
        return port


def raw(url: str, request: bytes) -> bytes:
    """Send bytes as they are, and read what comes until the answer's body."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=PATIENCE_S) as caller:
        caller.sendall(request)
        answer = b""
        while b"request_id" not in answer and (part := caller.recv(65536)):
            answer += part
        return answer


def type_of(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["type"]


def test_an_expired_token(client: httpx.Client) -> None:
    answer = client.get("/api/v1/chats/", headers=bearer(exp=1))

    assert type_of(answer) == (401, "token-expired")


def test_an_invalid_token(client: httpx.Client) -> None:
    answer = client.get("/api/v1/chats/", headers={"authorization": f"Bearer {a_token()}x"})

    assert type_of(answer) == (401, "token-invalid")
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_cookie_from_elsewhere(client: httpx.Client) -> None:
    cookie = {"cookie": f"pg_access_token={a_token()}", "origin": "http://elsewhere.example"}

    assert type_of(client.post("/api/v1/chats/", json={}, headers=cookie)) == (403, "origin-not-allowed")


def test_a_head_with_two_hosts(gateway_url: str) -> None:
    answer = raw(gateway_url, b"GET /api/health/ping HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"head-malformed"' in answer


def test_a_head_that_is_too_large(client: httpx.Client) -> None:
    answer = client.get("/api/health/ping", headers={"x-large": "a" * 40_000})

    assert type_of(answer) == (431, "head-too-large")


def test_a_service_that_refuses(client: httpx.Client) -> None:
    assert type_of(client.get("/refusing", headers=bearer())) == (502, "upstream-refused")


def test_a_service_that_answers_wrongly(client: httpx.Client) -> None:
    assert type_of(client.get("/broken", headers=bearer())) == (502, "upstream-broken")


def test_a_service_that_says_nothing(client: httpx.Client) -> None:
    assert type_of(client.get("/silent", headers=bearer())) == (504, "upstream-timeout")


def test_a_service_that_takes_no_more(client: httpx.Client) -> None:
    """It may have one connection, and whoever has it gets no answer."""
    with ThreadPoolExecutor(2) as two:
        answers = list(two.map(lambda _: client.get("/crowded", headers=bearer()), range(2)))

    unavailable = [answer for answer in answers if answer.status_code == 503]
    assert [type_of(answer) for answer in unavailable] == [(503, "upstream-unavailable")]
    assert unavailable[0].headers["retry-after"] == "1"


def test_a_body_that_does_not_arrive(gateway_url: str) -> None:
    fields = f"host: x\r\nauthorization: Bearer {a_token()}\r\ncontent-length: 10\r\n\r\n"

    answer = raw(gateway_url, f"POST /silent HTTP/1.1\r\n{fields}part".encode())

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"request-too-slow"' in answer


def test_an_answer_nobody_reads(gateway_url: str) -> None:
    """The answer has begun, so there is nothing left to say but to the log."""
    address = urlsplit(gateway_url)
    head = f"GET /endless HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {a_token()}\r\n\r\n"

    with capture_logs() as events, socket.create_connection((address.hostname, address.port)) as caller:
        caller.sendall(head.encode())

        line = wait_for(events, "request.answered", reason="client_too_slow")

    assert line["status"] == 200


def test_an_upgrade_that_a_route_does_not_take(gateway_url: str) -> None:
    fields = (
        f"host: x\r\nauthorization: Bearer {a_token()}\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
        "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )

    answer = raw(gateway_url, f"GET /silent HTTP/1.1\r\n{fields}".encode())

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"upgrade-not-offered"' in answer


def test_tokens_before_any_key_was_fetched(migrated_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    settings = some_settings(
        tmp_path_factory.mktemp("keyless"),
        dsn=migrated_dsn,
        jwt_public_key="",
        jwt_jwks_url=f"http://127.0.0.1:{closed_port()}/jwks.json",
        log_level=50,
    )
    with running_gateway(settings) as url:
        answer = httpx.get(f"{url}/api/v1/chats/", headers=bearer(), timeout=PATIENCE_S)

    assert type_of(answer) == (503, "keys-unavailable")
    assert answer.headers["retry-after"] == "5"
