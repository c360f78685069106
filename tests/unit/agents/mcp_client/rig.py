"""MCP servers for tests: the small one as a program over stdio, or over HTTP; and the client kept for a block."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from inspect import isawaitable
from pathlib import Path
from typing import Any

from app.agents.contract import Asked, Tool, ToolContext, ToolRefused
from app.agents.mcp_client.server import Server
from app.agents.mcp_client.servers import McpServers
from app.agents.mcp_client.source import McpTools
from app.kernel.identity import Principal
from app.mcp_rows import McpServerRow
from tests.fakes.front_door import FakeFrontDoor
from tests.unit.agents.desk import a_caller, a_turn, an_agent

PROGRAM = Path(__file__).parents[3] / "mcp_server.py"


class RunTokens:
    async def token_for(self, caller: Principal) -> str:
        return f"run-token-of-{caller.user_id}"


# Any: what a row is written with
def small(name: str = "small", *, environment: dict[str, str] | None = None, **fields: Any) -> Server:
    """Give the small server as a program."""
    row = McpServerRow.model_validate({"command": sys.executable, "args": (str(PROGRAM),), **fields})
    return Server(name, row, {**_paths(), **(environment or {})})


def old(name: str = "old", **fields: Any) -> Server:  # Any: as above
    """Give the server of the older era as a program."""
    return small(name, args=(str(PROGRAM.with_name("mcp_old_server.py")),), **fields)


def at(  # Any: as above
    url: str, name: str = "small", *, environment: dict[str, str] | None = None, **fields: Any
) -> Server:
    row = McpServerRow.model_validate({"url": url, "private_addresses": True, **fields})
    return Server(name, row, environment or {})


def _paths() -> dict[str, str]:
    return {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}


@asynccontextmanager
async def kept(*servers: Server) -> AsyncIterator[McpServers]:
    client = McpServers(servers, run_tokens=RunTokens())
    async with asyncio.TaskGroup() as group:
        keeper = group.create_task(client.keep())
        await until(lambda: client._group is not None)
        try:
            yield client
        finally:
            keeper.cancel()


@asynccontextmanager
async def served(port: int | None = None) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """Run the small server over HTTP until the block is left."""
    port = port or _free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(PROGRAM), str(port), stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(30):
            while True:
                with suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                await asyncio.sleep(0.05)
        yield f"http://127.0.0.1:{port}/mcp", process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


async def tools_of(client: McpServers, *names: str, caller: Principal | None = None) -> dict[str, Tool]:
    asked = Asked(an_agent(mcp_servers=names or client.names), a_turn(caller=caller), FakeFrontDoor())
    return {tool.name: tool for tool in await McpTools(client).tools(asked)}


async def call(
    tool: Tool, *, caller: Principal | None = None, shown: list[str] | None = None, **arguments: Any
) -> object:
    async def show(text: str) -> None:
        if shown is not None:
            shown.append(text)

    context = ToolContext(a_turn(caller=caller or a_caller()), FakeFrontDoor(), "key", show)
    return await tool.call(context, arguments)


async def refused(tool: Tool, **arguments: Any) -> str:
    try:
        given = await call(tool, **arguments)
    except ToolRefused as refusal:
        return refusal.reason
    raise AssertionError(f"it was not refused: {given!r}")


async def until(is_so: Callable[[], bool | Awaitable[bool]], *, within_s: float = 30) -> None:
    async with asyncio.timeout(within_s):
        while not (await found if isawaitable(found := is_so()) else found):  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)


async def offers(client: McpServers, tool: str) -> bool:
    return tool in await tools_of(client)


def says(file: Path, words: str) -> bool:
    return file.exists() and file.read_text() == words
