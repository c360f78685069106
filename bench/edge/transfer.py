"""How fast a large body passes, in either direction, and what it costs."""

from socket import socket
from time import perf_counter

from bench.edge.one_connection import AnswerLost, connected
from bench.edge.peers.nginx import GIGABYTE
from bench.edge.rounds import Better, Measure, Sample
from bench.edge.site import SINK, STATIC
from bench.edge.target import Target
from bench.programs import cpu_s

SPEED = Measure("speed", "MB/s", Better.MORE)
CPU = Measure("CPU", "s/GB", digits=2)
MEASURES = (SPEED, CPU)
PIECE_BYTES = 1024 * 1024


def download(target: Target, size_bytes: int) -> Sample:
    """Read the origin's large file through the target. Errors: AnswerLost."""
    used, started = cpu_s(target.pid), perf_counter()
    with connected(target) as connection:
        connection.sendall(target.head("GET", f"{STATIC}/{GIGABYTE}", "Connection: close"))
        head, rest = _head(connection)
        missing = size_bytes - len(rest)
        into = memoryview(bytearray(PIECE_BYTES))
        while missing > 0 and (count := connection.recv_into(into)):
            missing -= count
    _check(head, missing)
    return _sample(target, size_bytes, used, started)


def upload(target: Target, size_bytes: int) -> Sample:
    """Send a body through the target to the sink, which counts it. Errors: AnswerLost."""
    used, started = cpu_s(target.pid), perf_counter()
    piece = memoryview(bytes(PIECE_BYTES))
    with connected(target) as connection:
        connection.sendall(target.head("POST", SINK, f"Content-Length: {size_bytes}", "Connection: close"))
        for start in range(0, size_bytes, PIECE_BYTES):
            connection.sendall(piece[: min(PIECE_BYTES, size_bytes - start)])
        head, rest = _head(connection)
        while more := connection.recv(PIECE_BYTES):
            rest += more
    _check(head, size_bytes - int(rest or b"0"))
    return _sample(target, size_bytes, used, started)


def _head(connection: socket) -> tuple[bytes, bytes]:
    seen = b""
    while b"\r\n\r\n" not in seen:
        piece = connection.recv(PIECE_BYTES)
        if not piece:
            raise AnswerLost("the connection was closed")
        seen += piece
    head, _, rest = seen.partition(b"\r\n\r\n")
    return head, rest


def _check(head: bytes, missing_bytes: int) -> None:
    if not head.startswith(b"HTTP/1.1 200 ") or missing_bytes:
        raise AnswerLost(f"{missing_bytes} bytes were lost after {head[:100]!r}")


def _sample(target: Target, size_bytes: int, cpu_before_s: float, started_s: float) -> Sample:
    taken_s = perf_counter() - started_s
    used_s = cpu_s(target.pid) - cpu_before_s
    return Sample({SPEED: size_bytes / taken_s / 1e6, CPU: used_s / (size_bytes / 1e9)})
