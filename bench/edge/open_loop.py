"""An open loop: requests are sent when they are due, whether or not earlier ones were answered.

A latency is counted from the moment its request was due, so that a target which stalls pays for every request that the
stall held up (as wrk2 does). Due times are evenly spaced. One thread over epoll: it drives about 30,000 requests a
second; how late it was itself is reported as `late`.
"""

import gc
import select
import socket
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass, field
from time import perf_counter_ns

from bench.edge.one_connection import AnswerLost, connect
from bench.edge.rounds import Better, Measure, Sample, percentile
from bench.edge.site import SMALL, SMALL_BODY
from bench.edge.target import Target
from bench.programs import cpu_s

OFFERED = Measure("offered", "/s", Better.NEITHER)
CPU = Measure("CPU", "us/request", digits=1)
P50 = Measure("p50", "ms", digits=2)
P99 = Measure("p99", "ms", digits=2)
LATE = Measure("late p99", "ms", Better.NEITHER, digits=2)
MEASURES = (OFFERED, CPU, P50, P99, LATE)
CONNECTIONS = 64
LIMIT_PER_S = 25_000
DRAIN_NS = 2_000_000_000
SLEEP_NS = 2_000_000
READ_BYTES = 65_536


def measure(target: Target, *, per_s: float, seconds: float) -> Sample:
    """Offer `per_s` requests for `seconds`; what is not answered two seconds after the last counts as failed."""
    offered = min(per_s, LIMIT_PER_S)
    before = cpu_s(target.pid)
    with ExitStack() as stack:
        loop = OpenLoop(target.head("GET", SMALL), SMALL_BODY.encode())
        for _ in range(CONNECTIONS):
            loop.add(stack.enter_context(connect(target)))
        loop.run(count=int(offered * seconds), interval_ns=1e9 / offered)
    used_us = (cpu_s(target.pid) - before) * 1e6
    values = {
        OFFERED: offered,
        CPU: used_us / max(len(loop.taken_ms), 1),
        P50: percentile(loop.taken_ms, 50),
        P99: percentile(loop.taken_ms, 99),
        LATE: percentile(loop.late_ms, 99),
    }
    return Sample(values, loop.unanswered)


@dataclass(slots=True)
class Connection:
    """`due_ns` is when the request that it carries was due."""

    socket: socket.socket
    due_ns: float = 0
    seen: bytes = b""


@dataclass(slots=True)
class OpenLoop:
    """`taken_ms` are the latencies; `late_ms` how long after it was due a request left, where a connection was free."""

    request: bytes
    answer_end: bytes
    taken_ms: list[float] = field(default_factory=list)
    late_ms: list[float] = field(default_factory=list)
    unanswered: int = 0
    _free: deque[Connection] = field(default_factory=deque)
    _waiting: deque[float] = field(default_factory=deque)
    _by_number: dict[int, Connection] = field(default_factory=dict)
    _poll: select.epoll = field(default_factory=select.epoll)

    def add(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        self._poll.register(connected.fileno(), select.EPOLLIN)
        self._by_number[connected.fileno()] = one = Connection(connected)
        self._free.append(one)

    def run(self, *, count: int, interval_ns: float) -> None:
        """Send `count` requests and read their answers; the last ones are given DRAIN_NS."""
        gc.disable()
        try:
            self._run(count, interval_ns)
        finally:
            gc.enable()
            self._poll.close()
        self.unanswered = count - len(self.taken_ms)

    def _run(self, count: int, interval_ns: float) -> None:
        started = perf_counter_ns()
        end = started + count * interval_ns + DRAIN_NS
        sent = 0
        while len(self.taken_ms) < count:
            now = perf_counter_ns()
            while sent < count and (due := started + sent * interval_ns) <= now:
                self._send_or_wait(due, now)
                sent += 1
            if now > end:
                return
            next_ns = started + sent * interval_ns - now if sent < count else SLEEP_NS
            self._read(0.001 if next_ns >= SLEEP_NS else 0)

    def _send_or_wait(self, due_ns: float, now_ns: float) -> None:
        if self._free and not self._waiting:
            self.late_ms.append((now_ns - due_ns) / 1e6)
            self._send(self._free.popleft(), due_ns)
        else:
            self._waiting.append(due_ns)

    def _send(self, connection: Connection, due_ns: float) -> None:
        connection.due_ns = due_ns
        connection.socket.send(self.request)

    def _read(self, wait_s: float) -> None:
        for number, _ in self._poll.poll(wait_s):
            connection = self._by_number[number]
            data = connection.socket.recv(READ_BYTES)
            if not data:
                raise AnswerLost("the connection was closed under an open loop")
            connection.seen += data
            if connection.seen.endswith(self.answer_end):
                self._answered(connection)

    def _answered(self, connection: Connection) -> None:
        if not connection.seen.startswith(b"HTTP/1.1 200 "):
            raise AnswerLost(repr(connection.seen[:200]))
        connection.seen = b""
        self.taken_ms.append((perf_counter_ns() - connection.due_ns) / 1e6)
        if self._waiting:
            self._send(connection, self._waiting.popleft())
        else:
            self._free.append(connection)
