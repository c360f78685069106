"""What loads the targets of the benchmark: wrk's report read, the open loop, and processor time."""

import math
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from time import sleep

import pytest

from bench.edge.open_loop import OpenLoop
from bench.edge.wrk import NoReport, Report, parse
from bench.programs import cpu_s

REPORT = """Running 2s test @ http://127.0.0.1:8000/
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   700.12us  123.00us   9.00ms   91.00%
    Req/Sec    46.00k     1.20k   48.00k    70.00%
  Latency Distribution
     50%  500.00us
     75%  750.00us
     90%    1.10ms
     99%    1.55s
  92776 requests in 2.00s, 21.00MB read
Requests/sec:  46388.12
Transfer/sec:     10.50MB
"""
FAILURES = """  Socket errors: connect 1, read 2, write 3, timeout 4
  Non-2xx or 3xx responses: 90
"""
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def test_a_report_is_read_in_milliseconds() -> None:
    assert parse(REPORT) == Report(requests=92776, per_s=46388.12, p50_ms=0.5, p99_ms=1550, failed=0)


def test_the_space_that_wrk_puts_after_seconds_is_no_part_of_them() -> None:
    assert parse(REPORT.replace("1.55s", "1.55s ")).p99_ms == 1550


def test_where_nothing_was_answered_there_is_no_latency() -> None:
    report = parse(REPORT.replace("92776 requests", "0 requests"))

    assert math.isnan(report.p50_ms)
    assert math.isnan(report.p99_ms)


def test_every_kind_of_failure_is_counted() -> None:
    assert parse(REPORT.replace("Requests/sec", f"{FAILURES}Requests/sec")).failed == 100


def test_what_is_no_report_is_shown() -> None:
    with pytest.raises(NoReport, match="Connection refused"):
        parse("unable to connect to 127.0.0.1:1 Connection refused\n")


@pytest.fixture
def stalling() -> Iterator[tuple[socket.socket, Future[int]]]:
    """A client's socket to a server that waits 300 ms before its first answer, and how many answers it gave."""
    ours, theirs = socket.socketpair()
    with ThreadPoolExecutor(1) as pool, ours:
        yield ours, pool.submit(_answer_after_a_stall, theirs)


def _answer_after_a_stall(connection: socket.socket) -> int:
    answers = 0
    with connection:
        while connection.recv(4096):
            sleep(0 if answers else 0.3)
            connection.sendall(ANSWER)
            answers += 1
    return answers


def test_a_stall_is_paid_by_every_request_that_it_held_up(stalling: tuple[socket.socket, Future[int]]) -> None:
    connected, answers = stalling
    loop = OpenLoop(b"GET / HTTP/1.1\r\n\r\n", b"ok")
    loop.add(connected)

    loop.run(count=50, interval_ns=1e6)
    connected.shutdown(socket.SHUT_WR)

    assert (len(loop.taken_ms), loop.unanswered, answers.result(10)) == (50, 0, 50)
    assert min(loop.taken_ms) > 200
    assert len(loop.late_ms) == 1


def test_the_time_of_a_child_that_is_gone_counts() -> None:
    before = cpu_s(os.getpid())

    subprocess.run([sys.executable, "-c", "sum(range(8_000_000))"], check=True)

    assert cpu_s(os.getpid()) - before > 0.02
