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
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import asyncpg
import httpx
import pytest

from tests.builders import public_pem
from tests.e2e.program import PORTICO, Program, a_home, free_port, running
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

    def value(self, query: str) -> int:
        async def act() -> int:
            connection = await self._connect()
            found: int = await connection.fetchval(query)
            await connection.close()
            return found

        return asyncio.run(act())

    def count(self, table: str) -> int:
        return self.value(f"SELECT count(*) FROM {table}")

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


@pytest.fixture
def storage(migrated_dsn: str) -> Iterator[Storage]:
    storage = Storage(migrated_dsn, f"keys_{uuid4().hex}")
    yield storage
    storage.execute(f"DROP SCHEMA {storage.schema} CASCADE")


@contextmanager
def serving(home: Path, storage: Storage, port: int, role: str) -> Iterator[Program]:
    config = home / "gateway.toml"
    config.write_text(
        '[[routes]]\nprefix = "/api/health"\nlocal = true\naccess = "PUBLIC"\n'
        '[[routes]]\nprefix = "/api/v1"\nlocal = true\naccess = "COMMON"\n'
    )
    environment = {
        "POSTGRES_DSN": storage.dsn,
        "POSTGRES_SCHEMA": storage.schema,
        "JWT_PUBLIC_KEY": public_pem(),
        "DEFAULT_MODEL": "scripted",
        "LOG_JSON": "true",
        "FRONT_DOOR_URL": f"http://127.0.0.1:{port}",
    }
    command = (PORTICO, "serve", "--port", str(port), "--workers", "1", "--role", role, "--config", str(config))
    with running(home, *command, url=f"http://127.0.0.1:{port}", **environment) as program:
        yield program


@dataclass
class Phone:
    """Sends one request, loses the connection, and sends it again until it has an answer."""

    url: str
    path: str
    body: Json
    key: str = field(default_factory=lambda: str(uuid4()))

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


@pytest.mark.soak
def test_what_was_done_before_a_kill_is_not_done_again_behind_it(storage: Storage) -> None:
    port = free_port()
    with a_home() as home, serving(home, storage, port, "web") as gateway:
        gateway.awaits(gateway.is_ready)
        storage.execute(WAIT_FOR_THE_LOCK)
        with httpx.Client(base_url=gateway.url) as client:
            written, said = (open_chat(client, OWNER)["id"] for _ in range(2))
        a_chat = Phone(gateway.url, "/api/v1/chats/", {"title": "Plans"})
        a_message = Phone(
            gateway.url, f"/api/v1/messages/chats/{written}/messages", {"role": "user", "content": "hello"}
        )
        a_turn = Phone(gateway.url, f"/api/v1/messages/{said}/exchange", {"content": "hello"})

        with storage.no_answer_kept():
            sending = [phone.begin() for phone in (a_chat, a_message, a_turn)]
            gateway.awaits(lambda: (storage.count("chats"), storage.count("messages")) == (3, 2))
            for pid in gateway.workers():
                os.kill(pid, signal.SIGKILL)
            for thread in sending:
                thread.join()
        with serving(home, storage, port, "worker"), httpx.Client(base_url=gateway.url) as client:
            opened, wrote, answered = (phone.insist() for phone in (a_chat, a_message, a_turn))
            again = [phone.insist() for phone in (a_chat, a_message, a_turn)]
            messages = [history(client, OWNER, chat_id) for chat_id in (written, said)]

    assert [answer.status_code for answer in (opened, wrote, answered)] == [201, 201, 201]
    assert storage.count("chats") == 3
    assert [message["id"] for message in messages[0]] == [wrote.json()["id"]]
    assert [message["id"] for message in messages[1]] == [message["id"] for message in answered.json()]
    assert len(messages[1]) == 2
    assert storage.count("runs") == 1
    assert storage.value("SELECT sum(requests) FROM usage") == 1
    assert [answer.content for answer in again] == [opened.content, wrote.content, answered.content]
    assert all("idempotent-replayed" in answer.headers for answer in again)
