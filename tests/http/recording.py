"""An upstream that keeps every request as it came, byte for byte, and a client that sends what it is told to."""

import re
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

ANSWER = (
    b"HTTP/1.1 200 OK\r\n"
    b"Content-Length: 2\r\n"
    b"Server: secret/1.0\r\n"
    b"X-Powered-By: secret\r\n"
    b"X-Request-Id: of-the-upstream\r\n"
    b"Access-Control-Allow-Origin: *\r\n"
    b"Access-Control-Allow-Methods: TRACE\r\n"
    b"Vary: Accept\r\n"
    b"Set-Cookie: a=1\r\n"
    b"Set-Cookie: b=2; HttpOnly\r\n"
    b"Connection: X-Hop\r\n"
    b"X-Hop: 1\r\n"
    b"\r\n"
    b"ok"
)


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as the upstream saw it: names in lower case."""

    line: str
    fields: list[tuple[str, str]]
    body: bytes

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key == name]


@dataclass(slots=True)
class Recording:
    url: str
    requests: list[Seen] = field(default_factory=list)


@contextmanager
def recording() -> Iterator[Recording]:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while (seen := _read_request(self)) is not None:
                kept.requests.append(seen)
                self.wfile.write(ANSWER)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

    with Server(("127.0.0.1", 0), Handler) as server:
        kept = Recording(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield kept
        finally:
            server.shutdown()
            thread.join()


def _read_request(handler: socketserver.StreamRequestHandler) -> Seen | None:
    line = handler.rfile.readline().decode("latin-1").strip()
    if not line:
        return None
    fields = []
    while text := handler.rfile.readline().decode("latin-1").strip():
        name, _, value = text.partition(":")
        fields.append((name.lower(), value.strip()))
    lengths = [int(value) for name, value in fields if name == "content-length"]
    if ("transfer-encoding", "chunked") in fields:
        return Seen(line, fields, _read_chunks(handler))
    return Seen(line, fields, handler.rfile.read(lengths[0]) if lengths else b"")


def _read_chunks(handler: socketserver.StreamRequestHandler) -> bytes:
    body = b""
    while size := int(handler.rfile.readline(), 16):
        body += handler.rfile.read(size)
        handler.rfile.readline()
    while handler.rfile.readline().strip():
        body += b" and a trailer"
    return body


@dataclass(frozen=True, slots=True)
class Answered:
    status: int
    fields: list[tuple[str, str]]
    body: bytes

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key == name.lower()]

    @property
    def type(self) -> str:
        """The problem's type; the status where there is none."""
        found = re.search(rb'"type":"([a-z-]+)"', self.body)
        return found[1].decode() if found else str(self.status)


def ask(url: str, target: str | bytes, *fields: tuple[str, str], method: str = "GET", body: bytes = b"") -> Answered:
    """Send one request exactly as it is written, on a connection of its own, and read the whole answer."""
    raw_target = target if isinstance(target, bytes) else target.encode("latin-1")
    host = [] if any(name.lower() == "host" for name, _ in fields) else [("Host", "gate.test")]
    lines = [f"{name}: {value}\r\n".encode("latin-1") for name, value in (*host, *fields, ("Connection", "close"))]
    return send(url, b"%b %b HTTP/1.1\r\n%b\r\n%b" % (method.encode(), raw_target, b"".join(lines), body))


def send(url: str, request: bytes) -> Answered:
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=20) as connection:
        connection.sendall(request)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    fields = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    return Answered(int(status.split(" ")[1]), fields, body)
