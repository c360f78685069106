"""What connections cost that do nothing or go slowly: memory by connection, never by body."""

import asyncio
import socket
from pathlib import Path

import pytest

from tests.builders import a_token
from tests.e2e.program import Program
from tests.soak.clients import allow_files, connected
from tests.soak.load import a_request, load_on
from tests.soak.stand import Held, Origin, a_gateway, port_of, proxying, say, settled

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1200)]
IDLE = 10_000
IDLE_LIMIT_BYTES = 20_000
PROBE_LIMIT_MS = 250
SLOW = 200
SLOW_LIMIT_BYTES = 1_000_000
SLOW_S = 20
GIGABYTE = 1 << 30
TOKEN = a_token()
ECHO = a_request("/echo", token=TOKEN)


@pytest.mark.parametrize("asks_first", [False, True], ids=["silent", "kept alive"])
async def test_ten_thousand_idle_connections_are_cheap_and_hold_nobody_up(
    home: Path, migrated_dsn: str, origin: Origin, *, asks_first: bool
) -> None:
    if not allow_files(IDLE + 1000):
        pytest.skip("may not open as many files")
    with (
        a_gateway(home, proxying(origin), POSTGRES_DSN=migrated_dsn) as gateway,
        load_on(port_of(gateway), ECHO, per_s=10, is_fresh=True, connections=1) as probe,
    ):
        await asyncio.sleep(2)
        before = Held.by(gateway.workers())
        probe.begin("connecting")
        async with connected(port_of(gateway), IDLE) as clients:
            if asks_first:
                await ask_on(clients)
            with_all = await settled(gateway, lambda held: held.files >= before.files + IDLE)
            probe.begin("idle")
            await asyncio.sleep(4)
            probe.begin("leaving")
        after = await settled(gateway, lambda held: held.files <= before.files + 8)

    each_bytes = (with_all.rss_bytes - before.rss_bytes) / IDLE
    say(
        f"{with_all.files - before.files:,} connections, {each_bytes:,.0f} bytes each; "
        f"afterwards {after.files - before.files} files more"
    )
    say(probe.told("one request every 100 ms meanwhile"))
    assert with_all.files >= before.files + IDLE
    assert each_bytes < IDLE_LIMIT_BYTES
    assert probe.failed == {}
    assert probe.phases["idle"].max_ms < PROBE_LIMIT_MS
    assert after.files <= before.files + 8


async def ask_on(clients: list[socket.socket]) -> None:
    loop = asyncio.get_running_loop()
    for client in clients:
        await loop.sock_sendall(client, ECHO.encode())
        assert (await loop.sock_recv(client, 65536)).startswith(b"HTTP/1.1 200")


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
