"""The official MCP client, on the door of a gateway, in somebody's name."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import mcp_types
from mcp.client import Client
from mcp.client.client import ConnectMode
from mcp.client.streamable_http import streamable_http_client

from tests.http.calls import as_

ERAS: tuple[ConnectMode, ...] = ("legacy", "2026-07-28")
TIMEOUT_S = 30


@asynccontextmanager
async def mcp_client(
    url: str,
    sub: str,
    role: str = "user",
    *,
    mode: ConnectMode = "2026-07-28",
    headers: Mapping[str, str] | None = None,
) -> AsyncGenerator[Client]:
    async with httpx2.AsyncClient(headers=as_(sub, role) if headers is None else dict(headers)) as http:
        transport = streamable_http_client(f"{url}/mcp", http_client=http)
        async with Client(transport, mode=mode, cache=None, read_timeout_seconds=TIMEOUT_S) as client:
            yield client


# Any: what a tool gives, whose shape is what the tests are about
async def use(client: Client, name: str, /, **arguments: object) -> dict[str, Any]:
    result = await client.call_tool(name, arguments)
    assert not result.is_error, words_of(result)
    assert isinstance(result.structured_content, dict)
    return result.structured_content


async def refused(client: Client, name: str, /, **arguments: object) -> str:
    result = await client.call_tool(name, arguments)
    assert result.is_error, result
    return words_of(result)


def words_of(result: mcp_types.CallToolResult) -> str:
    return "".join(part.text for part in result.content if isinstance(part, mcp_types.TextContent))
