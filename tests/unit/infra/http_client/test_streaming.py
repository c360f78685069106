"""The client that is handed to libraries: what it sends along, and what it does not take."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing

import httpx2
import pytest

from app.infra.http_client import streaming
from app.infra.http_client.streaming import streaming_client

LIMIT_BYTES = 1000


class Wire:
    """Answers each request with what is given, and remembers the heads."""

    def __init__(self, kind: str, body: bytes) -> None:
        self.heads: list[str] = []
        fields = f"content-type: {kind}\r\ncontent-length: {len(body)}\r\nconnection: close"
        self._answer = f"HTTP/1.1 200 OK\r\n{fields}\r\n\r\n".encode() + body

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            writer.write(self._answer)
            await writer.drain()


@asynccontextmanager
async def asked(wire: Wire, *, host: str = "127.0.0.1", may_be_private: bool = True) -> AsyncIterator[httpx2.Response]:
    async def headers_now() -> Mapping[str, str]:
        return {"x-now": "1"}

    listener = await asyncio.start_server(wire, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with (
        listener,
        streaming_client(
            headers={"x-always": "1"},
            headers_now=headers_now,
            connect_s=5,
            limit_bytes=LIMIT_BYTES,
            may_be_private=may_be_private,
        ) as client,
    ):
        yield await client.get(f"http://{host}:{port}/mcp")


async def test_headers_of_always_and_of_now_go_with_it() -> None:
    wire = Wire("application/json", b"{}")
    async with asked(wire) as answer:
        assert answer.json() == {}

    assert "x-always: 1" in wire.heads[0].lower()
    assert "x-now: 1" in wire.heads[0].lower()


async def test_an_answer_beyond_the_limit_is_not_taken_but_a_stream_of_events_is() -> None:
    large = b"x" * (LIMIT_BYTES + 1)
    with pytest.raises(httpx2.ReadError, match="larger than it may be"):
        async with asked(Wire("application/json", large)):
            pass
    async with asked(Wire("text/event-stream", large)) as answer:
        assert len(answer.content) == LIMIT_BYTES + 1


async def test_it_connects_to_the_address_that_was_looked_at_under_the_hosts_own_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def looked_at(host: str, port: int) -> str:
        del port
        assert host == "mcp.example.test"
        return "127.0.0.1"

    monkeypatch.setattr(streaming, "public_address", looked_at)
    wire = Wire("application/json", b"{}")
    async with asked(wire, host="mcp.example.test", may_be_private=False) as answer:
        assert answer.request.url.host == "mcp.example.test"

    assert "host: mcp.example.test:" in wire.heads[0].lower()


async def test_a_private_address_is_refused_before_a_connection_is_made() -> None:
    wire = Wire("application/json", b"{}")
    with pytest.raises(httpx2.ConnectError, match="not public"):
        async with asked(wire, may_be_private=False):
            pass

    assert wire.heads == []
