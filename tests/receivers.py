"""Receivers of notifications on real sockets: HTTP servers that answer as they are told, and remember what they got."""

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, override


@dataclass(frozen=True)
class Got:
    """A request; header names are in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # Any: what tests look into
        return json.loads(self.body)

    @property
    def title(self) -> str:
        return str(self.json["data"]["title"])

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


@dataclass(frozen=True)
class Reply:
    """`stalls_s` is how long nothing follows the head of an answer whose body was promised; it waits for `when`."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    after_s: float = 0
    stalls_s: float = 0
    when: threading.Event | None = None


OK = Reply()


@dataclass
class Receiver:
    """`accepted` are the requests that were answered with 2xx, in order."""

    answer: Callable[[Got], Reply] = lambda _: OK
    got: list[Got] = field(default_factory=list)
    accepted: list[Got] = field(default_factory=list)
    port: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def script(self, *replies: Reply) -> None:
        """Answer with these, one after the other, then with 200."""
        left = list(replies)
        self.answer = lambda _: left.pop(0) if left else OK

    def take(self, got: Got) -> Reply:
        with self._lock:
            self.got.append(got)
            reply = self.answer(got)
        time.sleep(reply.after_s)
        if reply.when is not None:
            reply.when.wait(60)
        if 200 <= reply.status < 300:
            with self._lock:
                self.accepted.append(got)
        return reply

    @contextmanager
    def listening(self) -> Iterator["Receiver"]:
        """Be there for the block; the port stays the same when it is entered again."""
        server = _Server(("127.0.0.1", self.port), _handler_of(self))
        self.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join(10)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    @override
    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that leave are part of the tests."""


def _handler_of(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = receiver.take(Got(self.path, headers, body))
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.flush()
            time.sleep(reply.stalls_s)
            self.wfile.write(b"ok")

        @override
        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


def verified(got: Got, secret: str, *, now_s: float, tolerance_s: float = 300) -> bool:
    """Check a webhook as the specification of Standard Webhooks says, by nothing of ours."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    timestamp = got.headers["webhook-timestamp"]
    if abs(now_s - int(timestamp)) > tolerance_s:
        return False
    signed = b".".join((got.id.encode(), timestamp.encode(), got.body))
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    given = [one.partition(",")[2] for one in got.headers["webhook-signature"].split() if one.startswith("v1,")]
    return any(hmac.compare_digest(expected, one) for one in given)
