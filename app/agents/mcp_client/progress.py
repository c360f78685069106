"""How far a call is, from the connection's task to whoever follows the turn.

The connection is everybody's, so what it calls neither waits nor raises; the telling is done in the turn's own tasks.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import anyio

from app.agents.contract import Show
from app.agents.mcp_client.away import first_of
from app.agents.mcp_client.ports import Progress

WAITING = 32
"""of what was not told yet; what comes then is left out"""


@asynccontextmanager
async def shown(show: Show) -> AsyncGenerator[Progress]:
    """Give what hears of progress; everything heard is told when the block is left. Errors: what `show` raises."""
    waiting, heard = anyio.create_memory_object_stream[str](WAITING)

    def hear(done: float, total: float | None, words: str) -> None:
        with suppress(anyio.WouldBlock, anyio.ClosedResourceError, anyio.BrokenResourceError):
            waiting.send_nowait(line_of(done, total, words))

    async def tell() -> None:
        async for line in heard:
            await show(line)

    try:
        with waiting, heard:
            async with asyncio.TaskGroup() as tasks:  # anyio's loses a cancellation that comes beside a failure
                tasks.create_task(tell())
                yield hear
                waiting.close()
    except BaseExceptionGroup as group:
        raise first_of(group) from None  # of one task beside the block: nobody else's error is lost


def line_of(done: float, total: float | None, words: str) -> str:
    far = f"{done:g} of {total:g}" if total else f"{done:g}"
    return f"{words} ({far})\n" if words else f"{far}\n"
