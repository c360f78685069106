"""An agent in a worker process calls services in its user's name: `portico serve` as it is shipped, the demo's agenda
behind it, and the example of a service that checks tokens itself.

Between the front door and the agenda stands a relay that shows what the agenda was sent, and holds it back if told to.
"""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import jwt
import pytest
from sqlalchemy import text

from app.infra.db.engine import Database, DatabaseOptions
from tests.builders import bearer, public_pem
from tests.e2e.program import PORTICO, ROOT, Program, a_home, becomes_true, free_port, running
from tests.fleet.programs import as_user
from tests.fleet.programs import running as running_fleet

NOTES = ROOT / "examples" / "notes" / "notes.py"
CALENDARS = "/api/v1/calendars/"
SCHEMA = "run_tokens"  # of its own: the worker of any gateway on a schema takes its runs
PATIENCE_S = 60


@dataclass
class Relay:
    """`tokens` are those the agenda was shown, in order."""

    url: str = ""
    target: str = ""
    tokens: list[str] = field(default_factory=list)
    may_pass: threading.Event = field(default_factory=threading.Event)

    def pass_on(self, method: str, path: str, headers: dict[str, str], body: bytes) -> httpx.Response:
        if "authorization" in headers:  # not the front door's own checks
            self.tokens.append(headers["authorization"].removeprefix("Bearer "))
            self.may_pass.wait(PATIENCE_S)
        kept = {name: value for name, value in headers.items() if name in {"x-user-id", "x-user-role", "content-type"}}
        return httpx.request(method, self.target + path, headers=kept, content=body)


@contextmanager
def a_relay(target: str) -> Iterator[Relay]:
    relay = Relay(target=target)

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", 0)))
            answer = relay.pass_on(self.command, self.path, headers, body)
            self.send_response(answer.status_code)
            self.send_header("content-type", answer.headers.get("content-type", "application/json"))
            self.send_header("content-length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_GET = do_POST = answer  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        relay.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield relay
        relay.may_pass.set()
        server.shutdown()
        thread.join()


@dataclass
class Stand:
    gateway: Program
    relay: Relay
    agenda: httpx.Client
    notes: httpx.Client

    @property
    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.gateway.url, timeout=PATIENCE_S)

    def ask(self, sub: str, words: str, *, role: str = "user") -> dict[str, Any]:  # Any: a run, as JSON
        """Ask the agenda's agent in the background; give the run."""
        with self.client as client:
            headers = bearer(sub=sub, role=role)
            chat = client.post("/api/v1/chats/", json={"agent": "agenda"}, headers=headers).json()
            wish = {"content": words, "run_mode": "background"}
            answer = client.post(f"/api/v1/messages/{chat['id']}/exchange", json=wish, headers=headers)
            assert answer.status_code == 202, answer.text
            run: dict[str, Any] = answer.json()["run"]
            return run

    def caught(self, sub: str, words: str, *, role: str = "user") -> tuple[dict[str, Any], str]:  # Any: as above
        """Ask, and catch the token with which the agent calls the agenda; it is answered when the relay may pass on."""
        count = len(self.relay.tokens)
        run = self.ask(sub, words, role=role)
        assert becomes_true(lambda: len(self.relay.tokens) > count, within_s=PATIENCE_S), "no agent called"
        return run, self.relay.tokens[count]

    def status(self, run: dict[str, Any]) -> str:
        with self.client as client:
            path = f"/api/v1/runs/{run['id']}"
            return str(client.get(path, headers=bearer(sub="root", role="admin")).json()["status"])

    def is_let_in(self, token: str) -> bool:
        with self.client as client:
            return client.get("/api/v1/agents/", headers=carrying(token)).status_code == 200

    def calendars(self, sub: str) -> list[str]:
        items = self.agenda.get(CALENDARS, headers=as_user(sub)).json()["items"]
        return [calendar["name"] for calendar in items]


def carrying(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@contextmanager
def the_notes(front_door: str) -> Iterator[httpx.Client]:
    port = free_port()
    env = os.environ | {"FRONT_DOOR_URL": front_door, "AUTH_JWKS_URL": f"{front_door}/never-asked"}
    process = subprocess.Popen([sys.executable, str(NOTES), str(port)], env=env)
    transport = httpx.HTTPTransport(retries=20)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", transport=transport, timeout=PATIENCE_S) as client:
            yield client
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


@pytest.fixture(scope="module")
def stand(migrated_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    nobody = "http://127.0.0.1:9"
    with (
        running_fleet("agenda", tmp_path_factory.mktemp("agenda")) as agenda,
        a_relay(f"http://127.0.0.1:{agenda.port}") as relay,
        a_home() as home,
    ):
        port = free_port()
        environment = {
            "POSTGRES_DSN": migrated_dsn,
            "POSTGRES_SCHEMA": SCHEMA,
            "JWT_PUBLIC_KEY": public_pem(),
            "DEFAULT_MODEL": "",
            "LOG_JSON": "true",
            "AUTH_SERVICE_URL": nobody,
            "AGENDA_SERVICE_URL": relay.url,
            "SNAPSHOT_SERVICE_URL": nobody,
        }
        command = (PORTICO, "serve", "--port", str(port), "--config", str(ROOT / "gateway.toml"))
        with running(home, *command, url=f"http://127.0.0.1:{port}", **environment) as gateway:
            gateway.awaits(gateway.is_ready)
            with the_notes(gateway.url) as notes:
                yield Stand(gateway, relay, agenda.client, notes)


@pytest.fixture(autouse=True)
def _held_back(stand: Stand) -> Iterator[None]:
    stand.relay.may_pass.clear()
    yield
    stand.relay.may_pass.set()


def test_an_agent_in_a_worker_reaches_the_agenda_as_its_user(stand: Stand) -> None:
    stand.relay.may_pass.set()
    run = stand.ask("ann", "create Holidays")

    assert becomes_true(lambda: stand.status(run) == "completed", within_s=PATIENCE_S)
    assert stand.calendars("ann") == ["Holidays"]
    assert stand.calendars("ben") == []
    claims = jwt.decode(stand.relay.tokens[-1], options={"verify_signature": False})
    assert (claims["iss"], claims["sub"], claims["role"], claims["act"]) == (
        "portico",
        "ann",
        "user",
        {"sub": "agenda"},
    )
    assert claims["run"] == run["id"]
    (line,) = stand.gateway.logged("request.answered", path="/api/v1/agenda/calendars/", run_id=run["id"])
    assert (line["user_id"], line["status"]) == ("ann", 201)


def test_a_service_that_checks_tokens_itself_trusts_the_run_while_it_lives_and_no_longer(stand: Stand) -> None:
    run, token = stand.caught("cleo", "list")

    added = stand.notes.post("/notes", content="milk", headers=carrying(token))
    at_the_door = stand.is_let_in(token)
    thrown_away = stand.notes.delete("/notes/1", headers=carrying(token))
    stand.relay.may_pass.set()
    is_done = becomes_true(lambda: stand.status(run) == "completed", within_s=PATIENCE_S)
    is_refused = becomes_true(lambda: not stand.is_let_in(token), within_s=PATIENCE_S)
    later = stand.notes.get("/notes", headers=carrying(token))

    assert (added.status_code, added.json()["by"], at_the_door) == (201, "agenda", True)
    assert thrown_away.status_code == 403
    assert (is_done, is_refused) == (True, True)
    assert (later.status_code, later.json()["detail"]) == (401, "the run is over")


def test_to_withdraw_a_user_stops_the_running_agent_and_refuses_its_token(stand: Stand) -> None:
    run, token = stand.caught("dora", "create Never")
    was_let_in = stand.is_let_in(token)

    with stand.client as client:
        client.post("/api/v1/revocations", json={"sub": "dora"}, headers=bearer(sub="root", role="admin"))

    assert was_let_in
    assert not stand.is_let_in(token)
    assert becomes_true(lambda: stand.status(run) == "interrupted", within_s=PATIENCE_S)
    assert stand.notes.get("/notes", headers=carrying(token)).status_code == 401


def test_an_agent_reaches_what_its_user_may_and_no_more(stand: Stand) -> None:
    """The same token, at doors that are for others: what the asker may not do the run may not."""
    _, of_a_user = stand.caught("emma", "list")
    _, of_an_admin = stand.caught("root", "list", role="admin")

    with stand.client as client:
        statuses = [
            client.get("/api/v1/messages/", headers=carrying(token)).status_code for token in (of_a_user, of_an_admin)
        ]

    assert statuses == [403, 200]


def test_no_token_and_no_private_key_is_found_in_the_database_or_the_log(stand: Stand, migrated_dsn: str) -> None:
    stand.relay.may_pass.set()
    run = stand.ask("fay", "create Secret")
    assert becomes_true(lambda: stand.status(run) == "completed", within_s=PATIENCE_S)
    token = stand.relay.tokens[-1]

    everything = asyncio.run(dump_of(migrated_dsn)) + stand.gateway.complained() + stand.gateway.said()

    header, payload, signature = token.split(".")
    assert run["id"] in everything
    assert [part for part in (header, payload, signature, "PRIVATE KEY") if part in everything] == []


async def dump_of(dsn: str) -> str:
    """Every row of every table, as text."""
    database = Database(DatabaseOptions(dsn=dsn, schema=SCHEMA))
    rows: list[str] = []
    async with database.engine.connect() as connection:
        named = text("SELECT tablename FROM pg_tables WHERE schemaname = :schema")
        for table in await connection.scalars(named, {"schema": SCHEMA}):
            rows += await connection.scalars(text(f'SELECT kept::text FROM "{table}" AS kept'))
    await database.aclose()
    return "\n".join(rows)
