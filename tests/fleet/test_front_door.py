"""A logout everywhere is told to the gateway, and is a logout whether that hears it or not."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import jwt
import pytest

from tests.fleet.programs import as_user, running

SESSIONS = "/api/v1/auth/sessions"
PATIENCE_S = 15


@dataclass
class Gateway:
    """Keeps what it is told; answers with the statuses it was given, then with 201."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)  # Any: JSON objects

    def awaits(self, calls: int) -> None:
        end = time.monotonic() + PATIENCE_S
        while len(self.bodies) < calls:
            assert time.monotonic() < end, f"{len(self.bodies)} calls of {calls}"
            time.sleep(0.02)


@contextmanager
def a_gateway() -> Iterator[Gateway]:
    gateway = Gateway()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the name is http.server's
            body = self.rfile.read(int(self.headers["content-length"]))
            status = gateway.statuses.pop(0) if gateway.statuses else 201
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()
            gateway.paths.append(self.path)
            gateway.tokens.append(self.headers["authorization"].removeprefix("Bearer "))
            gateway.bodies.append(json.loads(body))

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        gateway.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield gateway
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with a_gateway() as gateway:
        yield gateway


@pytest.fixture(scope="module")
def auth(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with running("auth", tmp_path_factory.mktemp("auth"), "--front-door-url", gateway.url) as program:
        yield program.client


def test_the_gateway_is_told_by_a_call_that_its_own_keys_verify(auth: httpx.Client, gateway: Gateway) -> None:
    before_s = time.time()

    answer = auth.delete(f"{SESSIONS}/all", headers=as_user("7"))

    told, token = gateway.bodies[-1], gateway.tokens[-1]
    key = jwt.PyJWKSet.from_dict(auth.get("/.well-known/jwks.json").json())[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(token, key, algorithms=["RS256"], audience="portico", issuer="portico-demo-auth")
    assert (answer.status_code, gateway.paths[-1], told["sub"]) == (204, "/api/v1/revocations", "7")
    assert before_s <= told["before"] <= time.time()
    assert (claims["role"], claims["sub"], claims["exp"] - claims["iat"]) == ("admin", "portico-demo-auth", 60)


def test_a_login_right_after_is_issued_after(auth: httpx.Client, gateway: Gateway) -> None:
    account = {"email": f"{uuid4().hex}@example.org", "password": "correct horse"}
    user_id = str(auth.post("/api/v1/users/register", json=account).json()["id"])
    first = auth.post(SESSIONS, json=account).json()["access_token"]

    auth.delete(f"{SESSIONS}/all", headers=as_user(user_id))
    second = auth.post(SESSIONS, json=account).json()["access_token"]

    issued = [jwt.decode(token, options={"verify_signature": False})["iat"] for token in (first, second)]
    assert issued[0] < gateway.bodies[-1]["before"] < issued[1]


def test_a_gateway_that_cannot_now_is_told_again(auth: httpx.Client, gateway: Gateway) -> None:
    gateway.statuses = [503]
    calls = len(gateway.bodies)

    answer = auth.delete(f"{SESSIONS}/all", headers=as_user("8"))

    gateway.awaits(calls + 2)
    assert answer.status_code == 204
    assert gateway.bodies[-1] == gateway.bodies[-2]


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", ""], ids=["nobody is there", "there is none"])
def test_a_gateway_that_is_away_keeps_nobody_from_logging_out(tmp_path: Path, url: str) -> None:
    with running("auth", tmp_path, env={"FRONT_DOOR_URL": url}) as program:
        answer = program.client.delete(f"{SESSIONS}/all", headers=as_user("7"))

        ended_with = program.stop()

    assert (answer.status_code, ended_with) == (204, 0)
