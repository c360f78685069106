"""A description is asked for as a request would be, but bounded, and on a connection of its own."""

import asyncio

import pytest

from app.edge.described_fleet import DescribedFleet
from app.edge.routes import RouteRegistry
from app.edge.table import Table
from app.edge.upstreams import open_upstreams
from app.infra.openapi.ports import DescriptionUnusable, Entrance
from app.kernel.identity import Access
from app.settings import GatewayFile
from tests.wire.hostile import OK, answering, answering_then_closing, hostile, on_both_loops, silent

LIMIT_BYTES = 1000


def a_table(port: int, **row: object) -> Table:
    there = {"url": f"http://127.0.0.1:{port}", **row}
    routes = [{"prefix": "/api/there", "upstream": "there", "strip": "/there"}]
    rows = GatewayFile.model_validate({"upstreams": {"there": there}, "routes": routes})
    return Table(RouteRegistry.compile(rows.routes, rows.upstreams), open_upstreams(rows.upstreams))


def fleet_at(port: int, **row: object) -> DescribedFleet:
    table = a_table(port, openapi="/docs/openapi.json?full=1", **row)
    return DescribedFleet(lambda: table)


@on_both_loops
async def test_the_description_is_fetched_whole() -> None:
    chunked = OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
    async with hostile(answering(chunked)) as there:
        body = await fleet_at(there.port).fetch("there", limit_bytes=LIMIT_BYTES)

        assert body == b"hello world"
        assert there.visits[0].received.startswith(b"GET /docs/openapi.json?full=1 HTTP/1.1\r\nhost: 127.0.0.1:")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", "is answered with 404"),
        (b"HTTP/1.1 302 Go\r\nLocation: http://127.0.0.1/x\r\nContent-Length: 0\r\n\r\n", "is answered with 302"),
        (OK + b"Content-Length: 1001\r\n\r\n" + b"x" * 1001, "is larger than 1000 bytes"),
        (OK + b"\r\n" + b"x" * 100_000, "is larger than 1000 bytes"),
        (OK + b"Content-Length: 9\r\n\r\nhalf", "cannot be had"),
        (b"nonsense\r\n\r\n", "cannot be had"),
        (b"", "cannot be had"),
    ],
)
@on_both_loops
async def test_anything_else_is_refused_and_leaves_nothing_open(answer: bytes, words: str) -> None:
    async with hostile(answering_then_closing(answer)) as there:
        with pytest.raises(DescriptionUnusable, match=words):
            await fleet_at(there.port).fetch("there", limit_bytes=LIMIT_BYTES)


@on_both_loops
async def test_nobody_there_is_told() -> None:
    with pytest.raises(DescriptionUnusable, match="cannot be had"):
        await fleet_at(1).fetch("there", limit_bytes=LIMIT_BYTES)


@on_both_loops
async def test_giving_up_leaves_nothing_open() -> None:
    async with hostile(silent) as there:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await fleet_at(there.port).fetch("there", limit_bytes=LIMIT_BYTES)


@on_both_loops
async def test_the_table_of_the_moment_is_asked() -> None:
    tables = [a_table(1), a_table(1, openapi="/openapi.json")]
    fleet = DescribedFleet(lambda: tables[0])
    nothing, before = fleet.publishers(), fleet.table()
    with pytest.raises(DescriptionUnusable, match="not published any more"):
        await fleet.fetch("there", limit_bytes=LIMIT_BYTES)

    del tables[0]

    assert (nothing, before is fleet.table()) == ({}, False)
    assert fleet.publishers() == {"there": tables[0].upstreams["there"]}
    assert fleet.finder()("there", "GET", "/api/x") == [Entrance("/api/there/x", Access.COMMON)]
