"""A small MCP server, made with the official SDK: `python tests/mcp_server.py [PORT]`, over stdio without a port.

A program of its own, so that it can be killed. What its tools are told, and do, is what the tests look at.
"""

import os
import sys
import threading
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import anyio
import mcp_types
from mcp.server.mcpserver import Context, MCPServer

server = MCPServer("small", log_level="ERROR")


@server.tool(annotations=mcp_types.ToolAnnotations(read_only_hint=True))
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool(annotations=mcp_types.ToolAnnotations(destructive_hint=True))
def wipe(name: str) -> str:
    """Wipe something."""
    return f"wiped {name}"


@server.tool(annotations=mcp_types.ToolAnnotations(idempotent_hint=True))
def fail(words: str) -> str:
    """Fail in these words."""
    raise ValueError(words)


@server.tool()
def who_am_i(ctx: Context) -> Mapping[str, str | int]:
    """Tell which process this is, what headers of ours came, and which digests the secret ones have."""
    wanted = ("authorization", "x-user", "x-key")
    headers = {name: value for name, value in (ctx.headers or {}).items() if name in wanted}
    digests = {f"{name} digest": sha256(value.encode()).hexdigest() for name, value in headers.items()}
    return {"pid": os.getpid(), **headers, **digests}


@server.tool()
def environment() -> Mapping[str, str]:
    """Tell which environment there is: names, and digests of values."""
    return {name: sha256(value.encode()).hexdigest() for name, value in os.environ.items()}


@server.tool()
async def count(ctx: Context, to: int) -> str:
    """Count, and tell how far it is."""
    for number in range(1, to + 1):
        await ctx.report_progress(number, to, f"step {number}")
        await anyio.sleep(0.01)
    return f"counted to {to}"


@server.tool()
async def wait(file: str) -> str:
    """Begin, write to a file what became of it, and wait for long."""
    _write(file, "begun")
    try:
        await anyio.sleep(60)
    except anyio.get_cancelled_exc_class():
        _write(file, "cancelled")
        raise
    return "waited"


def _write(file: str, words: str) -> None:
    Path(file).write_text(words)


@server.tool()
def shout(words: str) -> str:
    """Say something on stderr, and what is no message on stdout."""
    sys.stderr.write(f"{words}\n")
    sys.stderr.flush()
    return "shouted"


@server.tool()
def picture() -> list[mcp_types.TextContent | mcp_types.ImageContent]:
    """Show a picture."""
    return [
        mcp_types.TextContent(type="text", text="a dot"),
        mcp_types.ImageContent(type="image", data="AAAA", mime_type="image/png"),
    ]


@server.tool()
async def learn(ctx: Context, name: str) -> str:
    """Have one more tool, and say so."""

    def learned() -> str:
        """Be new."""
        return "new"

    server.add_tool(learned, name=name)
    await ctx.notify_tools_changed()
    await ctx.session.send_tool_list_changed()
    return "learned"


@server.tool(name="odd name/with.signs")
def odd() -> str:
    """Have a name no provider takes."""
    return "odd"


def _end_with_our_parent() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        threading.Thread(target=_end_with_our_parent, daemon=True).start()
        server.run("streamable-http", port=int(sys.argv[1]))
    else:
        server.run("stdio")
