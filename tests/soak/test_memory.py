"""What connections cost that do nothing or go slowly: memory by connection, never by body."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.builders import a_token
from tests.e2e.program import ROOT, Program
from tests.soak.clients import connected
from tests.soak.load import Running, a_request, load_on
from tests.soak.stand import Held, Origin, a_gateway, port_of, proxying, say, settled

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1200)]
IDLE = 10_000
IDLE_LIMIT_BYTES = 20_000
PROBE_LIMIT_MS = 250
SETTLE_S = 8
"""until the worker has taken what it has loaded for what stays"""
SLOW = 200
SLOW_LIMIT_BYTES = 1_000_000
SLOW_S = 20
GIGABYTE = 1 << 30
TOKEN = a_token()
ECHO = a_request("/echo", token=TOKEN)


@pytest.mark.parametrize("leave", ["close", "are killed"])
@pytest.mark.parametrize("ask", ["", ECHO], ids=["silent", "kept alive"])
async def test_ten_thousand_idle_connections_are_cheap_and_hold_nobody_up(
    home: Path, migrated_dsn: str, origin: Origin, ask: str, leave: str
) -> None:
    """They come as fast as one process can open them, and leave in the same moment."""
    with a_gateway(home, proxying(origin), POSTGRES_DSN=migrated_dsn) as gateway, ExitStack() as probing:
        port = port_of(gateway)
        probes = {
            name: probing.enter_context(load_on(port, ECHO, per_s=10, is_fresh=is_fresh, connections=1))
            for name, is_fresh in (("on a connection of its own", True), ("on one and the same", False))
        }
        await asyncio.sleep(SETTLE_S)
        before = Held.by(gateway.workers())
        _begin(probes, "coming")
        with a_rush(port, IDLE, ask) as crowd:
            with_all = await settled(gateway, lambda held: held.files >= before.files + IDLE)
            _begin(probes, "idle")
            await asyncio.sleep(4)
            _begin(probes, "leaving")
            crowd.kill() if leave == "are killed" else crowd.communicate("now\n")
            after = await settled(gateway, lambda held: held.files <= before.files + 8)
            await asyncio.sleep(1)

    each_bytes = (with_all.rss_bytes - before.rss_bytes) / IDLE
    say(
        f"{with_all.files - before.files:,} connections, {each_bytes:,.0f} bytes each; "
        f"afterwards {after.files - before.files} files more"
    )
    for name, probe in probes.items():
        say(probe.told(f"one request every 100 ms, {name}, meanwhile"))
    slowest_ms = max(phase.max_ms for probe in probes.values() for phase in probe.phases.values())
    say(f"the slowest of all took {slowest_ms:.0f} ms")
    assert with_all.files >= before.files + IDLE
    assert each_bytes < IDLE_LIMIT_BYTES
    assert [probe.failed for probe in probes.values()] == [{}, {}]
    assert slowest_ms < PROBE_LIMIT_MS
    assert after.files <= before.files + 8


def _begin(probes: Mapping[str, Running], phase: str) -> None:
    for probe in probes.values():
        probe.begin(phase)


@contextmanager
def a_rush(port: int, count: int, ask: str) -> Iterator[subprocess.Popen[str]]:
    """Open connections in a process of its own, until all of them are there."""
    command = [sys.executable, "-m", "tests.soak.rush", str(port), str(count), *([ask] if ask else [])]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


async def test_slow_readers_of_a_gigabyte_cost_a_buffer_each(home: Path, migrated_dsn: str, origin: Origin) -> None:
    request = a_request(f"/big/{GIGABYTE}", token=TOKEN).encode()
    with a_gateway(home, proxying(origin), POSTGRES_DSN=migrated_dsn) as gateway:
        before = Held.by(gateway.workers())
        async with connected(port_of(gateway), SLOW, receive_bytes=65536) as clients, asyncio.TaskGroup() as group:
            read = [group.create_task(read_slowly(client, request)) for client in clients]
            most_bytes = await highest(gateway, SLOW_S)
            assert not any(task.done() for task in read)
            for task in read:
                task.cancel()

    each_bytes = (most_bytes - before.rss_bytes) / SLOW
    say(f"{SLOW} slow readers of 1 GB: {each_bytes:,.0f} bytes each")
    assert each_bytes < SLOW_LIMIT_BYTES


async def read_slowly(client: socket.socket, request: bytes) -> None:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(client, request)
    while await loop.sock_recv(client, 65536):  # noqa: ASYNC110 - slow on purpose
        await asyncio.sleep(0.5)


async def test_uploads_to_a_slow_upstream_cost_a_buffer_each(home: Path, migrated_dsn: str, origin: Origin) -> None:
    head = (
        f"POST /sink/100000 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: {GIGABYTE}\r\n\r\n"
    )
    rows = proxying(origin).replace('prefix = "/"', f'prefix = "/"\nmax_body_bytes = {GIGABYTE}')
    with a_gateway(home, rows, POSTGRES_DSN=migrated_dsn) as gateway:
        before = Held.by(gateway.workers())
        async with connected(port_of(gateway), SLOW) as clients, asyncio.TaskGroup() as group:
            sent = [group.create_task(send_fast(client, head.encode())) for client in clients]
            most_bytes = await highest(gateway, SLOW_S)
            assert not any(task.done() for task in sent)
            for task in sent:
                task.cancel()

    each_bytes = (most_bytes - before.rss_bytes) / SLOW
    say(f"{SLOW} uploads of 1 GB to an upstream that reads slowly: {each_bytes:,.0f} bytes each")
    assert each_bytes < SLOW_LIMIT_BYTES


async def send_fast(client: socket.socket, head: bytes) -> None:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(client, head)
    piece = b"x" * (1 << 20)
    while True:
        await loop.sock_sendall(client, piece)


async def highest(gateway: Program, seconds: float) -> int:
    most_bytes = 0
    for _ in range(int(seconds / 0.25)):
        await asyncio.sleep(0.25)
        most_bytes = max(most_bytes, Held.by(gateway.workers()).rss_bytes)
    return most_bytes
