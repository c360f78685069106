"""What a gateway of its own process keeps in memory is bounded by its connections, whatever passes through it."""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from socket import (
    IPPROTO_TCP,
    MSG_PEEK,
    SHUT_RDWR,
    SO_RCVBUF,
    SO_SNDBUF,
    SOL_SOCKET,
    TCP_MAXSEG,
    create_connection,
    create_server,
    socket,
)

import pytest

from tests.builders import public_pem
from tests.e2e.program import PORTICO, Program, a_home, becomes_true, free_port, running

MEGABYTE = 1024 * 1024
PIECE = b"x" * (64 * 1024)
LAST = b"0\r\n\r\n"
GROWTH_LIMIT_BYTES = 50 * MEGABYTE
SLOW_CLIENTS = 200
A_FEW = 20
SMALL_BUFFER_BYTES = 64 * 1024
SEGMENT_BYTES = 1400  # as on a network: on a loopback of large ones the kernel buffers megabytes before anybody waits
SLOW_CLIENT_LIMIT_BYTES = 3 * MEGABYTE // 2
PATIENCE_S = 60

SIZES = [
    pytest.param(128 * MEGABYTE, id="128 MB"),
    pytest.param(1024 * MEGABYTE, id="1 GB", marks=pytest.mark.soak),
]


@dataclass(slots=True)
class Bulk:
    """An upstream of blocking sockets: gives and takes as much as the path says."""

    port: int
    received_bytes: int = 0
    sent_bytes: int = 0
    held: int = 0
    connections: list[socket] = field(default_factory=list)
    counting: threading.Condition = field(default_factory=threading.Condition)
    is_over: threading.Event = field(default_factory=threading.Event)

    def serve(self, connection: socket) -> None:
        with connection, suppress(OSError):
            head = head_on(connection)
            _, what, size, framing = head.split()[1].decode().split("/")[1:]
            if what == "down":
                self._give(connection, int(size), is_chunked=framing == "chunked")
            elif what == "up":
                self._take(connection, int(size), is_chunked=framing == "chunked")
            else:
                self._hold(connection)

    def _hold(self, connection: socket) -> None:
        """Read no body and give no answer, for as long as there are tests; nor is much to wait in the kernel."""
        connection.setsockopt(SOL_SOCKET, SO_RCVBUF, SMALL_BUFFER_BYTES)
        with self.counting:
            self.held += 1
            self.counting.notify_all()
        self.is_over.wait()

    def awaits_held(self, count: int) -> None:
        with self.counting:
            assert self.counting.wait_for(lambda: self.held >= count, PATIENCE_S), f"{self.held} of {count} arrived"

    def _give(self, connection: socket, size: int, *, is_chunked: bool) -> None:
        framing = b"Transfer-Encoding: chunked" if is_chunked else b"Content-Length: %d" % size
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n")
        piece = framed(PIECE) if is_chunked else PIECE
        for _ in range(size // len(PIECE)):
            connection.sendall(piece)
            self.sent_bytes += len(PIECE)
        if is_chunked:
            connection.sendall(LAST)

    def _take(self, connection: socket, size: int, *, is_chunked: bool) -> None:
        self.received_bytes = taken = 0
        tail = b""
        while taken < size if not is_chunked else not tail.endswith(LAST):
            piece = connection.recv(MEGABYTE)
            if not piece:
                return
            taken += len(piece)
            tail = (tail + piece)[-5:]
        self.received_bytes = taken
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")


def head_on(connection: socket) -> bytes:
    """Take a head, and nothing behind it."""
    while (end := connection.recv(65536, MSG_PEEK).find(b"\r\n\r\n")) < 0:
        pass
    return connection.recv(end + 4)


def framed(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


@pytest.fixture(scope="module")
def bulk() -> Iterator[Bulk]:
    with create_server(("127.0.0.1", 0), backlog=512) as bound:
        bound.setsockopt(IPPROTO_TCP, TCP_MAXSEG, SEGMENT_BYTES)
        upstream = Bulk(bound.getsockname()[1])
        accepting = threading.Thread(target=accept, args=(bound, upstream), daemon=True)
        accepting.start()
        yield upstream
        bound.shutdown(SHUT_RDWR)
        accepting.join(5)
        upstream.is_over.set()
        for connection in upstream.connections:
            with suppress(OSError):
                connection.shutdown(SHUT_RDWR)
            connection.close()


def accept(bound: socket, upstream: Bulk) -> None:
    with suppress(OSError):  # the listener was shut down
        while True:
            connection, _ = bound.accept()
            upstream.connections.append(connection)
            threading.Thread(target=upstream.serve, args=(connection,), daemon=True).start()


@pytest.fixture(scope="module")
def gateway(bulk: Bulk, database_dsn: str) -> Iterator[Program]:
    with a_home() as home:
        config = home / "gateway.toml"
        row = '[[routes]]\nprefix = "/bulk"\nupstream = "bulk"\naccess = "PUBLIC"\n'
        local = '[[routes]]\nprefix = "/api/health"\nlocal = true\naccess = "PUBLIC"\n'
        config.write_text(f'[upstreams.bulk]\nurl = "http://127.0.0.1:{bulk.port}"\n{row}{local}')
        port = free_port()
        values = {"POSTGRES_DSN": database_dsn, "JWT_PUBLIC_KEY": public_pem(), "DEFAULT_MODEL": "scripted"}
        command = (PORTICO, "serve", "--port", str(port), "--config", str(config))
        with running(home, *command, url=f"http://127.0.0.1:{port}", **values) as program:
            program.awaits(program.is_ready)
            yield program


def resident_bytes(worker: int) -> int:
    shown = subprocess.run(["ps", "-o", "rss=", "-p", str(worker)], capture_output=True, text=True, check=True)
    return int(shown.stdout) * 1024


@contextmanager
def watched(program: Program, limit_bytes: int) -> Iterator[None]:
    """Fail when the program grows by more than this in the meantime."""
    (worker,) = program.workers()
    before = resident_bytes(worker)
    peaks = [before]
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(0.1):
            peaks.append(resident_bytes(worker))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield
        peaks.append(resident_bytes(worker))
    finally:
        is_over.set()
        watching.join()
    grown_bytes = max(peaks) - before
    print(f"grown by {grown_bytes / MEGABYTE:.1f} MB from {before / MEGABYTE:.0f} MB")  # noqa: T201 - read with -s
    assert grown_bytes < limit_bytes


def open_client(program: Program) -> socket:
    client = create_connection(("127.0.0.1", int(program.url.rpartition(":")[2])))
    client.settimeout(PATIENCE_S)
    return client


def open_slow_client(program: Program) -> socket:
    """Open a connection of which the kernel buffers little, so that it is soon the gateway that has to wait."""
    client = socket()
    client.setsockopt(SOL_SOCKET, SO_RCVBUF, SMALL_BUFFER_BYTES)
    client.setsockopt(SOL_SOCKET, SO_SNDBUF, SMALL_BUFFER_BYTES)
    client.settimeout(PATIENCE_S)
    client.connect(("127.0.0.1", int(program.url.rpartition(":")[2])))
    return client


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_download_of_any_size_takes_little_memory(gateway: Program, bulk: Bulk, framing: str, size: int) -> None:
    received_bytes = 0
    tail = b""
    with open_client(gateway) as client, watched(gateway, GROWTH_LIMIT_BYTES):
        client.sendall(f"GET /bulk/down/{size}/{framing} HTTP/1.1\r\nHost: front\r\nConnection: close\r\n\r\n".encode())
        while piece := client.recv(MEGABYTE):
            received_bytes += len(piece)
            tail = (tail + piece)[-5:]

    assert received_bytes >= size
    assert tail == (LAST if framing == "chunked" else b"xxxxx")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_an_upload_of_any_size_takes_little_memory(gateway: Program, bulk: Bulk, framing: str, size: int) -> None:
    field_ = "Transfer-Encoding: chunked" if framing == "chunked" else f"Content-Length: {size}"
    piece = framed(PIECE) if framing == "chunked" else PIECE
    with open_client(gateway) as client, watched(gateway, GROWTH_LIMIT_BYTES):
        client.sendall(f"POST /bulk/up/{size}/{framing} HTTP/1.1\r\nHost: front\r\n{field_}\r\n\r\n".encode())
        for _ in range(size // len(PIECE)):
            client.sendall(piece)
        client.sendall(LAST if framing == "chunked" else b"")
        answer = client.recv(65536)

    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert bulk.received_bytes >= size


def test_many_uploads_nobody_reads_take_little_memory(gateway: Program, bulk: Bulk) -> None:
    bulk.held = 0
    clients: list[socket] = []
    with watched(gateway, SLOW_CLIENTS * SLOW_CLIENT_LIMIT_BYTES):
        while len(clients) < SLOW_CLIENTS:
            clients += open_uploads(gateway, A_FEW)
            bulk.awaits_held(len(clients))
            sent_bytes(clients, b"x")  # a body of which nothing comes for half a minute is a 408
        send_until_still(clients)  # in less than the minute after which it is a 504 that nobody reads
        alive = sum(map(is_waiting, clients))
    for client in clients:
        client.close()
    bulk.is_over.set()  # a gateway that has stopped reading does not see that they went

    assert alive > 0.9 * SLOW_CLIENTS  # else it is the memory of fewer


def open_uploads(program: Program, count: int) -> list[socket]:
    """Begin so few at once that a busy machine has no line of them, of which some are turned away (`edge/load.py`)."""
    clients = [open_slow_client(program) for _ in range(count)]
    for client in clients:
        client.sendall(b"POST /bulk/hold/1/length HTTP/1.1\r\nHost: front\r\nContent-Length: 99999999\r\n\r\n")
        client.setblocking(False)
    return clients


def sent_bytes(clients: list[socket], piece: bytes) -> int:
    """Offer a piece to each, and tell how much was taken."""
    taken = 0
    for client in clients:
        with suppress(OSError):  # it takes nothing more, or it is over, which is counted at the end
            taken += client.send(piece)
    return taken


def send_until_still(clients: list[socket]) -> None:
    seen: list[int] = []

    def is_still() -> bool:
        seen.append(sent_bytes(clients, PIECE))
        return len(seen) >= 5 and not any(seen[-5:])

    assert becomes_true(is_still, within_s=PATIENCE_S)


def is_waiting(client: socket) -> bool:
    """Tell whether a connection is open and nothing was answered on it."""
    try:
        client.recv(1)
    except OSError as error:
        return isinstance(error, BlockingIOError)
    return False


@pytest.mark.soak
def test_many_clients_that_do_not_read_take_little_memory(gateway: Program, bulk: Bulk) -> None:
    bulk.sent_bytes = 0
    with watched(gateway, SLOW_CLIENTS * SLOW_CLIENT_LIMIT_BYTES):
        clients = [open_slow_client(gateway) for _ in range(SLOW_CLIENTS)]
        for client in clients:
            client.sendall(b"GET /bulk/down/1073741824/length HTTP/1.1\r\nHost: front\r\n\r\n")
        wait_until_still(bulk)
    for client in clients:
        client.close()


def wait_until_still(bulk: Bulk) -> None:
    """Wait until nobody takes the upstream's bytes any more."""
    seen = [-1]

    def is_still() -> bool:
        seen.append(bulk.sent_bytes)
        return len(seen) > 10 and len(set(seen[-10:])) == 1

    assert becomes_true(is_still, within_s=PATIENCE_S)
