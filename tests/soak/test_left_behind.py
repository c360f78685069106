"""Requests that were aborted and requests that were answered leave nothing behind: no file, no slot, no memory."""

import asyncio
import os
import random
import socket
from pathlib import Path

import httpx
import pytest

from tests.builders import a_token
from tests.e2e.program import Program
from tests.soak.clients import connect, reset
from tests.soak.load import a_request, load_on
from tests.soak.stand import Held, Origin, a_gateway, port_of, proxying, say, settled

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1200)]
ABORTED = 10_000
SPARE_FILES = 16
"""for the database and what else comes and goes by itself"""
SOAKED = int(os.environ.get("PORTICO_SOAK_REQUESTS", "2000000"))
SAMPLE_S = 2
FLAT_BYTES = 8_000_000
TOKEN = a_token()
ECHO = a_request("/echo", token=TOKEN)


async def test_aborted_requests_leave_nothing_behind(home: Path, migrated_dsn: str, origin: Origin) -> None:
    """Each client goes at a moment of its own: before the upstream answered, within the answer, within its own body."""
    chance = random.Random(20)
    upload = f"POST /echo HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: 90000\r\n\r\nxyz"
    requests = [
        a_request("/after/2000", token=TOKEN).encode(),
        a_request("/big/100000000", token=TOKEN).encode(),
        a_request("/events", token=TOKEN).encode(),
        upload.encode(),
        ECHO.encode()[:-9],
    ]
    with a_gateway(home, proxying(origin), POSTGRES_DSN=migrated_dsn) as gateway:
        with load_on(port_of(gateway), ECHO, connections=1):
            await asyncio.sleep(0.2)
        before = Held.by(gateway.workers())
        places = asyncio.Semaphore(100)

        async def abort() -> None:
            async with places:
                client = await connect(port_of(gateway))
                await asyncio.get_running_loop().sock_sendall(client, chance.choice(requests))
                await asyncio.sleep(chance.random() * 0.05)
                chance.choice((reset, socket.socket.close))(client)

        async with asyncio.TaskGroup() as group:
            for _ in range(ABORTED):
                group.create_task(abort())
        after = await settled(gateway, lambda held: held.files <= before.files + SPARE_FILES)
        counted = {name: value for name, value in (await metrics(gateway)).items() if is_of_now(name)}
        with load_on(port_of(gateway), ECHO, connections=64) as load:
            await asyncio.sleep(0.5)

    say(
        f"{ABORTED:,} aborted requests: {after.files - before.files} files more, "
        f"{(after.rss_bytes - before.rss_bytes) / 1e6:.1f} MB more; {counted}"
    )
    say(load.told("afterwards"))
    assert after.files <= before.files + SPARE_FILES
    assert counted["portico_requests_open"] == 1  # who asked for the metrics
    assert load.failed == {}


async def metrics(gateway: Program) -> dict[str, float]:
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"{gateway.url}/metrics")).text
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


def is_of_now(name: str) -> bool:
    return "_open" in name or name.startswith("portico_upstream_connections")


async def test_two_million_requests_leave_memory_flat(home: Path, migrated_dsn: str, origin: Origin) -> None:
    requests = [a_request("/echo", token=a_token(sub=str(sub))) for sub in range(200)]
    with (
        a_gateway(home, proxying(origin), POSTGRES_DSN=migrated_dsn) as gateway,
        load_on(port_of(gateway), *requests, connections=64) as load,
    ):
        samples: list[tuple[float, int]] = []
        while not samples or samples[-1][0] < SOAKED:
            await asyncio.sleep(SAMPLE_S)
            counted = await metrics(gateway)
            count = sum(value for name, value in counted.items() if name.startswith("portico_requests_total"))
            samples.append((count, Held.by(gateway.workers()).rss_bytes))

    quarters = [mean_in(samples, SOAKED * part / 4, SOAKED * (part + 1) / 4) / 1e6 for part in range(4)]
    say(load.told(f"{samples[-1][0]:,.0f} requests; MB by quarter: {', '.join(f'{one:.1f}' for one in quarters)}"))
    assert load.failed == {}
    assert (quarters[3] - quarters[1]) * 1e6 < FLAT_BYTES


def mean_in(samples: list[tuple[float, int]], start: float, end: float) -> float:
    within = [rss_bytes for count, rss_bytes in samples if start <= count <= end]
    return sum(within) / len(within)
