"""What one exchange takes on one connection that is kept: the whole answer, and the first event of a stream.

The client is a blocking socket, one request after the other, so that next to nothing is measured but the way there and
back.
"""

import gc
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter_ns

from bench.edge.rounds import Measure, Sample, percentile
from bench.edge.site import EVENTS, SMALL, SMALL_BODY
from bench.edge.streaming_origin import FIRST_EVENT
from bench.edge.target import Target

P50 = Measure("p50", "ms", digits=3)
P99 = Measure("p99", "ms", digits=3)
MEASURES = (P50, P99)
TIMEOUT_S = 10
READ_BYTES = 65_536
LAST_CHUNK = b"0\r\n\r\n"


class AnswerLost(RuntimeError):
    """The answer was not what was asked for, or the connection ended in it."""


def answers(target: Target, times: int) -> Sample:
    """Time `times` small answers, from the request's first byte out to the answer's last byte in."""
    request, end = target.head("GET", SMALL), SMALL_BODY.encode()
    with connected(target) as connection:
        return _sample([_exchange(connection, request, end) for _ in range(times)])


def first_events(target: Target, times: int) -> Sample:
    """Time `times` streams up to their first event; each is read to its end before the next."""
    request = target.head("GET", EVENTS)
    with connected(target) as connection:
        return _sample([_stream(connection, request) for _ in range(times)])


def connect(target: Target) -> socket.socket:
    """Open a connection without Nagle's algorithm."""
    connection = socket.create_connection(("127.0.0.1", target.port), timeout=TIMEOUT_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


@contextmanager
def connected(target: Target) -> Iterator[socket.socket]:
    """Open a connection, and keep the collector of cyclic garbage still meanwhile."""
    gc.disable()
    try:
        with connect(target) as connection:
            yield connection
    finally:
        gc.enable()


def _exchange(connection: socket.socket, request: bytes, end: bytes) -> float:
    started = perf_counter_ns()
    connection.sendall(request)
    _read_until(connection, b"", end)
    return (perf_counter_ns() - started) / 1e6


def _stream(connection: socket.socket, request: bytes) -> float:
    started = perf_counter_ns()
    connection.sendall(request)
    seen = b""
    while FIRST_EVENT not in seen:
        seen += _read(connection)
    taken_ms = (perf_counter_ns() - started) / 1e6
    _read_until(connection, seen, LAST_CHUNK)
    return taken_ms


def _read_until(connection: socket.socket, seen: bytes, end: bytes) -> None:
    while not seen.endswith(end):
        seen += _read(connection)
    if not seen.startswith(b"HTTP/1.1 200 "):
        raise AnswerLost(repr(seen[:200]))


def _read(connection: socket.socket) -> bytes:
    data = connection.recv(READ_BYTES)
    if not data:
        raise AnswerLost("the connection was closed")
    return data


def _sample(taken_ms: list[float]) -> Sample:
    return Sample({P50: percentile(taken_ms, 50), P99: percentile(taken_ms, 99)})
