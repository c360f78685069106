"""The message hook over real sockets: the analytics service gets each user message, and can hold up nobody."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.builders import some_settings
from tests.gateway import running_gateway
from tests.http.calls import Json, as_, open_chat, say, somebody, write

PATIENCE_S = 15


@dataclass
class Analytics:
    """Keeps what it is posted and answers as told; None hangs until the test ends."""

    statuses: list[int | None] = field(default_factory=list)
    got: list[tuple[str, Json, str]] = field(default_factory=list)
    is_over: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, path: str, body: Json, request_id: str) -> int:
        with self._lock:
            self.got.append((path, body, request_id))
            status = self.statuses.pop(0) if self.statuses else 201
        if status is None:
            self.is_over.wait(PATIENCE_S)
        return status or 500

    def wait_for(self, count: int) -> list[tuple[str, Json, str]]:
        end = time.monotonic() + PATIENCE_S
        while len(self.got) < count and time.monotonic() < end:
            time.sleep(0.01)
        return self.got


@contextmanager
def serving(analytics: Analytics) -> Iterator[str]:
    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status = analytics.take(self.path, body, self.headers["x-request-id"])
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's word
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            analytics.is_over.set()
            server.shutdown()
            serving.join(PATIENCE_S)


@contextmanager
def gateway_telling(url: str, dsn: str, folder: Path) -> Iterator[httpx.Client]:
    settings = some_settings(folder, dsn=dsn, snapshot_service_url=url)
    with running_gateway(settings) as gateway_url, httpx.Client(base_url=gateway_url, timeout=PATIENCE_S) as client:
        yield client


def test_each_user_message_of_an_exchange_is_posted(migrated_dsn: str, tmp_path: Path) -> None:
    analytics, owner = Analytics(), somebody()
    with serving(analytics) as url, gateway_telling(url, migrated_dsn, tmp_path) as client:
        chat_id = open_chat(client, owner)["id"]
        write(client, owner, chat_id, "written, not said")

        answers = [say(client, owner, chat_id, text) for text in ("one", "two")]

        assert analytics.wait_for(2) == [
            ("/v1/snapshot", {"user_id": owner, "message": text, "chat_id": chat_id}, answer.headers["x-request-id"])
            for text, answer in zip(("one", "two"), answers, strict=True)
        ]


def test_what_was_not_taken_is_posted_again(migrated_dsn: str, tmp_path: Path) -> None:
    analytics, owner = Analytics([500, 429]), somebody()
    with serving(analytics) as url, gateway_telling(url, migrated_dsn, tmp_path) as client:
        answer = say(client, owner, open_chat(client, owner)["id"], "hello")

        assert answer.status_code == 201
        assert [body["message"] for _, body, _ in analytics.wait_for(3)] == ["hello"] * 3


@pytest.mark.parametrize("is_hanging", [True, False], ids=["hangs", "refuses"])
def test_a_hook_that_does_not_work_holds_up_nobody(migrated_dsn: str, tmp_path: Path, *, is_hanging: bool) -> None:
    """The hook gives a receiver that hangs five seconds; a caller who had to wait for it would give up before."""
    analytics, owner = Analytics([None] * 100), somebody()
    with socket.create_server(("127.0.0.1", 0)) as closed:
        refusing = f"http://127.0.0.1:{closed.getsockname()[1]}"
    with serving(analytics) as url, gateway_telling(url if is_hanging else refusing, migrated_dsn, tmp_path) as client:
        client.timeout = httpx.Timeout(4)
        chat_id = open_chat(client, owner, agent="echo")["id"]

        statuses = {say(client, owner, chat_id, "hello").status_code for _ in range(10)}

        assert statuses == {201}
        assert client.get("/api/health/ready", headers=as_(owner)).status_code == 200
        analytics.is_over.set()
