"""A process is killed between its commit and its answer: whoever sends the request again, with its key, gets one thing.

The moment is met by a lock that only what keeps an answer waits for (a trigger in this test's own schema).
"""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from uuid import uuid4

import asyncpg
import httpx
import pytest

from tests.builders import public_pem
from tests.e2e.program import PORTICO, Program, a_home, becomes_true, free_port, running
from tests.http.calls import Json, as_, history, open_chat

OWNER = "ann"
PATIENCE_S = 40
LOCK = 4711
WAIT_FOR_THE_LOCK = f"""
    CREATE FUNCTION wait_for_the_test() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_advisory_xact_lock_shared({LOCK}); RETURN NEW; END $$;
    CREATE TRIGGER wait_for_the_test BEFORE UPDATE ON keyed_requests
        FOR EACH ROW WHEN (NEW.status IS NOT NULL) EXECUTE FUNCTION wait_for_the_test();
"""


@dataclass
class Storage:
    """The gateway's tables, from outside; each call is a connection of its own but for the one that holds the lock."""

    dsn: str
    schema: str

    def execute(self, statement: str) -> None:
        async def act() -> None:
            connection = await self._connect()
            await connection.execute(statement)
            await connection.close()

        asyncio.run(act())

    def count(self, table: str) -> int:
        async def act() -> int:
            connection = await self._connect()
            found: int = await connection.fetchval(f"SELECT count(*) FROM {table}")
            await connection.close()
            return found

        return asyncio.run(act())

    @contextmanager
    def no_answer_kept(self) -> Iterator[None]:
        """Let nobody keep an answer while the block lasts."""
        is_over, holds = threading.Event(), threading.Event()

        async def hold() -> None:
            connection = await self._connect()
            await connection.execute(f"SELECT pg_advisory_lock({LOCK})")
            holds.set()
            await asyncio.to_thread(is_over.wait)
            await connection.close()

        holder = threading.Thread(target=lambda: asyncio.run(hold()))
        holder.start()
        assert holds.wait(PATIENCE_S)
        try:
            yield
        finally:
            is_over.set()
            holder.join()

    async def _connect(self) -> asyncpg.Connection:
        dsn = self.dsn.replace("postgresql+asyncpg", "postgresql")
        return await asyncpg.connect(dsn, server_settings={"search_path": self.schema})


@pytest.fixture(scope="module")
def storage(migrated_dsn: str) -> Iterator[Storage]:
    storage = Storage(migrated_dsn, f"keys_{uuid4().hex}")
    yield storage
    storage.execute(f"DROP SCHEMA {storage.schema} CASCADE")


@pytest.fixture(scope="module")
def gateway(storage: Storage) -> Iterator[Program]:
    port = free_port()
    environment = {
        "POSTGRES_DSN": storage.dsn,
        "POSTGRES_SCHEMA": storage.schema,
        "JWT_PUBLIC_KEY": public_pem(),
        "DEFAULT_MODEL": "scripted",
        "LOG_JSON": "true",
    }
    with a_home() as home:
        config = home / "gateway.toml"
        config.write_text(
            '[[routes]]\nprefix = "/api/health"\nlocal = true\naccess = "PUBLIC"\n'
            '[[routes]]\nprefix = "/api/v1"\nlocal = true\naccess = "COMMON"\n'
        )
        command = (PORTICO, "serve", "--port", str(port), "--workers", "1", "--config", str(config))
        with running(home, *command, url=f"http://127.0.0.1:{port}", **environment) as program:
            program.awaits(program.is_ready)
            storage.execute(WAIT_FOR_THE_LOCK)
            yield program


@dataclass
class Phone:
    """Sends one request, loses the connection, and sends it again until it has an answer."""

    url: str
    path: str
    body: Json
    key: str

    def send(self) -> httpx.Response:
        headers = {**as_(OWNER), "Idempotency-Key": self.key}
        return httpx.post(f"{self.url}{self.path}", json=self.body, headers=headers, timeout=PATIENCE_S)

    def begin(self) -> threading.Thread:
        def lose() -> None:
            with suppress(httpx.TransportError):
                self.send()

        thread = threading.Thread(target=lose)
        thread.start()
        return thread

    def insist(self) -> httpx.Response:
        end_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                answer = self.send()
            except httpx.TransportError:
                assert time.monotonic() < end_s
                time.sleep(0.1)
                continue
            if answer.status_code not in {409, 503} or time.monotonic() > end_s:
                return answer
            time.sleep(float(answer.headers["retry-after"]))


def kill_in_the_moment(gateway: Program, storage: Storage, phone: Phone, table: str, *, more: int) -> None:
    """Kill the process that serves once it has committed so many rows, and before it answers."""
    before = storage.count(table)
    with storage.no_answer_kept():
        sending = phone.begin()
        assert becomes_true(lambda: storage.count(table) == before + more, within_s=PATIENCE_S)
        for pid in gateway.workers():
            os.kill(pid, signal.SIGKILL)
        sending.join()
    gateway.awaits(gateway.is_ready)


def test_a_chat_is_opened_once(gateway: Program, storage: Storage) -> None:
    phone = Phone(gateway.url, "/api/v1/chats/", {"title": "Plans"}, str(uuid4()))
    before = storage.count("chats")

    kill_in_the_moment(gateway, storage, phone, "chats", more=1)
    answers = [phone.insist(), phone.insist()]

    assert storage.count("chats") == before + 1
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].content == answers[1].content
    assert "idempotent-replayed" in answers[1].headers


def test_a_message_is_written_once(gateway: Program, storage: Storage) -> None:
    with httpx.Client(base_url=gateway.url) as client:
        chat_id = open_chat(client, OWNER)["id"]
        path = f"/api/v1/messages/chats/{chat_id}/messages"
        phone = Phone(gateway.url, path, {"role": "user", "content": "hello"}, str(uuid4()))

        kill_in_the_moment(gateway, storage, phone, "messages", more=1)
        answer = phone.insist()
        said = history(client, OWNER, chat_id)

    assert answer.status_code == 201
    assert [message["id"] for message in said] == [answer.json()["id"]]
