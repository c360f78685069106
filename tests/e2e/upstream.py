"""An upstream of raw sockets: keeps every byte it was sent, and answers what the test wrote, when the test says so."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

PLAIN = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"
LAST_S = 30


@dataclass(slots=True)
class RawUpstream:
    """Answers one request a connection with `answer`; not before `may_answer` is set."""

    url: str
    answer: bytes = PLAIN
    may_answer: threading.Event = field(default_factory=threading.Event)
    has_request: threading.Event = field(default_factory=threading.Event)
    requests: list[bytes] = field(default_factory=list)

    @property
    def last_fields(self) -> list[tuple[str, str]]:
        """The header fields of the last request, names in lower case."""
        lines = self.requests[-1].decode("latin-1").split("\r\n\r\n")[0].split("\r\n")[1:]
        pairs = [line.partition(":") for line in lines]
        return [(name.lower(), value.strip()) for name, _, value in pairs]

    @property
    def last_target(self) -> str:
        return self.requests[-1].decode("latin-1").split(" ", 2)[1]

    def serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(LAST_S)
            head = b""
            while b"\r\n\r\n" not in head:
                piece = connection.recv(65536)
                if not piece:
                    return
                head += piece
            self.requests.append(head)
            self.has_request.set()
            self.may_answer.wait(LAST_S)
            connection.sendall(self.answer)


@contextmanager
def raw_upstream(*, answers_at_once: bool = True) -> Iterator[RawUpstream]:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        upstream = RawUpstream(f"http://127.0.0.1:{bound.getsockname()[1]}")
        if answers_at_once:
            upstream.may_answer.set()
        accepting = threading.Thread(target=_accept, args=(bound, upstream), daemon=True)
        accepting.start()
        yield upstream
        upstream.may_answer.set()
        bound.shutdown(socket.SHUT_RDWR)
        accepting.join(5)


def _accept(bound: socket.socket, upstream: RawUpstream) -> None:
    with suppress(OSError):  # the test shut the listener down
        while True:
            connection, _ = bound.accept()
            threading.Thread(target=upstream.serve, args=(connection,), daemon=True).start()
