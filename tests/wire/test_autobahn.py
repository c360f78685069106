"""The Autobahn cases, as `kosoku` runs them, through a tunnel: a peer that passes them alone passes them behind us.

Without the groups 12 and 13, about compression: it is agreed on end to end, and none of the gateway's business.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.utils import accept_key

from app.edge.websocket_frames import FrameTracker, close_frame
from tests.wire.doorway import SWITCHING, running_doorway
from tests.wire.front import Front
from tests.wire.hostile import Visit, eventually

# Any: where it is not installed it has no types
kosoku: Any = pytest.importorskip("kosoku", reason="the Autobahn cases need kosoku, which comes for Linux")
pytestmark = [pytest.mark.soak, pytest.mark.timeout(900)]

PATIENCE_S = 800
ABOUT_COMPRESSION = ["12.*", "13.*"]
MOST_CASES = 290
STAND_IN = b"Sec-WebSocket-Accept: 1wtp5xEKX5dJGQVdJUEHqBIDTXk=\r\n"
THE_PEERS_OWN = {"7.1.5"}
"""`websockets` 17 answers a close frame within a fragmented message with 1002 instead of its own code."""
PASSED = {"OK", "NON-STRICT", "INFORMATIONAL"}
OPTIONS: dict[str, Any] = {"max_size": None, "compression": None, "ping_interval": None}


@pytest.fixture(scope="module")
def front_gateway() -> Iterator[Front]:
    cases = {"prefix": "/cases", "upstream": "main", "access": "PUBLIC", "websocket": True, "strip": "/cases"}
    with running_doorway(rows=[cases]) as front:
        yield front


async def echo(connection: ClientConnection | ServerConnection) -> None:
    try:
        async for message in connection:
            await connection.send(message)
    except ConnectionClosed:
        pass  # many a case ends by breaking a rule


@pytest.fixture(autouse=True)
def _any_number_of_fragments(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cases 9.3 and 9.4 have 65,536 of them; the variable WEBSOCKETS_MAX_FRAGMENTS would be read too early."""
    monkeypatch.setattr("websockets.asyncio.messages.MAX_FRAGMENTS", 100_000)


async def as_server(url: str, cases: list[str] | None = None) -> list[Any]:
    """Attack whoever listens there."""
    try:
        results: list[Any] = await kosoku.run_fuzzingclient(url, cases=cases, exclude_cases=ABOUT_COMPRESSION)
    except kosoku.FailureError as failure:
        return list(failure.results)
    return results


async def as_client(url: str, server: Any) -> list[Any]:  # Any: see above
    """Let our peer be attacked by `server`, which it reaches at `url`."""
    async with connect(f"{url}/getCaseCount", proxy=None, **OPTIONS) as socket:
        count = int(await socket.recv())
    for case in range(1, count + 1):
        async with connect(f"{url}/runCase?case={case}&agent=websockets", proxy=None, **OPTIONS) as socket:
            await echo(socket)
    async with connect(f"{url}/updateReports?agent=websockets", proxy=None, **OPTIONS) as socket:
        await socket.wait_closed()
    try:
        results: list[Any] = await server.get_result()
    except kosoku.FailureError as failure:
        return list(failure.results)
    return results


def failed(results: list[Any]) -> set[str]:
    return {one.case_id for one in results if {one.behavior.value, one.behavior_close.value} - PASSED}


def told(results: list[Any], whose: str) -> None:
    behaviors = Counter(one.behavior.value for one in results)
    closes = Counter(one.behavior_close.value for one in results)
    print(f"Autobahn, {whose}: {len(results)} cases; behaviour {dict(behaviors)}, close {dict(closes)}")  # noqa: T201


async def test_a_server_behind_a_tunnel_passes_what_it_passes_alone(front: Front) -> None:
    async with asyncio.timeout(PATIENCE_S), serve(echo, "127.0.0.1", front.upstream_port, **OPTIONS):
        results = await as_server(f"ws://127.0.0.1:{front.port}/cases/")
        alone = await as_server(f"ws://127.0.0.1:{front.upstream_port}/", sorted(THE_PEERS_OWN))

    told(results, "server side")
    assert len(results) > MOST_CASES
    assert failed(results) == failed(alone) == THE_PEERS_OWN
    await eventually(lambda: front.edge.gauges.tunnels_open == 0)


async def test_a_client_before_a_tunnel_passes_what_it_passes_alone(front: Front) -> None:
    own = sorted(THE_PEERS_OWN)
    async with asyncio.timeout(PATIENCE_S):
        async with kosoku.run_fuzzingserver(exclude_cases=ABOUT_COMPRESSION, port=front.upstream_port) as server:
            results = await as_client(f"ws://127.0.0.1:{front.port}/cases", server)
        async with kosoku.run_fuzzingserver(own, port=0) as server:
            alone = await as_client(f"ws://127.0.0.1:{server.port}", server)

    told(results, "client side")
    assert len(results) > MOST_CASES
    assert failed(results) == failed(alone) == THE_PEERS_OWN
    await eventually(lambda: front.edge.gauges.tunnels_open == 0)


async def well_closing(visit: Visit) -> None:
    """Answer a close frame with its own code, whatever message was under way."""
    head = (await visit.request()).decode("ascii")
    key = next(line[19:] for line in head.split("\r\n") if line.lower().startswith("sec-websocket-key: "))
    accept = f"Sec-WebSocket-Accept: {accept_key(key)}\r\n".encode()
    await visit.send(SWITCHING.replace(STAND_IN, accept))
    frames = FrameTracker()
    while not frames.is_closing:
        frames.feed(await visit.reader.read(65536))
    await visit.send(close_frame(1000, is_masked=False))


async def test_what_our_peer_fails_another_passes_behind_a_tunnel(front: Front) -> None:
    async with asyncio.timeout(PATIENCE_S), front.upstream(well_closing):
        results = await as_server(f"ws://127.0.0.1:{front.port}/cases/", sorted(THE_PEERS_OWN))

    assert {one.case_id for one in results} == THE_PEERS_OWN
    assert failed(results) == set()
