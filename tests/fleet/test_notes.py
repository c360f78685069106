"""The example of a service that checks tokens itself, before a front door that publishes keys and tells of runs."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from app.infra.durable.key_ring import public_key_of
from app.kernel.ids import RunId, new_run_id
from tests.builders import a_run_token, signing_key, worker_key
from tests.e2e.program import free_port

NOTES = Path(__file__).resolve().parents[2] / "examples" / "notes" / "notes.py"
START_LIMIT_S = 30
ISSUER = "portico-demo-auth"


def jwks(key: RSAPrivateKey, kid: str) -> dict[str, object]:
    public = public_key_of(key)
    return {"keys": [{"kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256", "n": public.n, "e": public.e}]}


@dataclass
class Door:
    """Publishes a worker's key and the auth service's, and tells which runs live."""

    url: str = ""
    live: set[str] = field(default_factory=set)
    is_away: bool = False

    def answer(self, path: str) -> tuple[int, object]:
        if self.is_away:
            return 503, {}
        if path == "/.well-known/jwks.json":
            return 200, jwks(worker_key(), public_key_of(worker_key()).id)
        if path == "/auth-jwks":
            return 200, jwks(signing_key(), "auth-1")
        return (200, {}) if path.removeprefix("/api/v1/runs/") in self.live else (401, {})


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    door = Door()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = door.answer(self.path)
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        door.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield door
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def notes(door: Door) -> Iterator[httpx.Client]:
    port = free_port()
    env = os.environ | {"FRONT_DOOR_URL": door.url, "AUTH_JWKS_URL": f"{door.url}/auth-jwks"}
    process = subprocess.Popen([sys.executable, str(NOTES), str(port)], env=env)
    transport = httpx.HTTPTransport(retries=20)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", transport=transport, timeout=START_LIMIT_S) as client:
            yield client
    finally:
        process.terminate()
        process.wait(START_LIMIT_S)


@pytest.fixture
def run(door: Door) -> Iterator[RunId]:
    run_id = new_run_id()
    door.live.add(str(run_id))
    yield run_id
    door.live.discard(str(run_id))
    door.is_away = False


def persons(**claims: object) -> dict[str, str]:
    payload = {"iss": ISSUER, "aud": "portico", "sub": "7", "exp": 2**33, **claims}
    return bearer(jwt.encode(payload, signing_key(), algorithm="RS256", headers={"kid": "auth-1"}))


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def test_an_agent_adds_a_note_to_its_users_and_says_so(notes: httpx.Client, run: RunId) -> None:
    sub = str(run)

    added = notes.post("/notes", content="milk", headers=bearer(a_run_token(run, sub=sub)))

    own = notes.get("/notes", headers=persons(sub=sub)).json()
    assert (added.status_code, added.json()) == (201, {"id": 1, "text": "milk", "by": "assistant"})
    assert own == [added.json()]
    assert notes.get("/notes", headers=persons(sub="8")).json() == []


def test_only_a_person_throws_away(notes: httpx.Client, run: RunId) -> None:
    sub = str(run)
    notes.post("/notes", content="milk", headers=persons(sub=sub))

    by_the_agent = notes.delete("/notes/1", headers=bearer(a_run_token(run, sub=sub)))
    by_the_person = notes.delete("/notes/1", headers=persons(sub=sub))

    assert (by_the_agent.status_code, by_the_person.status_code) == (403, 200)


def test_a_token_outlives_its_run_and_is_refused_all_the_same(notes: httpx.Client, door: Door, run: RunId) -> None:
    token = bearer(a_run_token(run))
    before = notes.get("/notes", headers=token)

    door.live.discard(str(run))

    after = notes.get("/notes", headers=token)
    assert (before.status_code, after.status_code, after.json()["detail"]) == (200, 401, "the run is over")


def test_while_the_front_door_cannot_be_asked_no_run_is_let_in(notes: httpx.Client, door: Door, run: RunId) -> None:
    token = bearer(a_run_token(run))
    notes.get("/notes", headers=token)

    door.is_away = True

    assert notes.get("/notes", headers=token).status_code == 503
    assert notes.get("/notes", headers=persons()).status_code == 200


FORGED: dict[str, Callable[[RunId], dict[str, str]]] = {
    "nobody": lambda _: {},
    "no token": lambda _: bearer("nonsense"),
    "an unknown issuer": lambda _: persons(iss="eve"),
    "the auth service as Portico": lambda run: persons(iss="portico", run=str(run), act={"sub": "assistant"}),
    "a worker as the auth service": lambda run: bearer(a_run_token(run, iss=ISSUER)),
    "for somebody else": lambda run: bearer(a_run_token(run, aud="other")),
    "expired": lambda run: bearer(a_run_token(run, exp=1)),
    "without an agent": lambda run: bearer(a_run_token(run, act=None)),
    "without a run": lambda run: bearer(a_run_token(run, run=None)),
}


@pytest.mark.parametrize("headers", FORGED.values(), ids=FORGED.keys())
def test_neither_side_speaks_for_the_other(
    notes: httpx.Client, run: RunId, headers: Callable[[RunId], dict[str, str]]
) -> None:
    assert notes.get("/notes", headers=headers(run)).status_code == 401
