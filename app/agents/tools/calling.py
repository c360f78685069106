"""One call of a tool: asked of the ledger, told from start to end, made in the caller's name, its failure a result.

Rule: a broken tool is a result the model can act on, not the turn's end; only a budget that is reached ends the turn.
"""

import inspect
from collections.abc import Awaitable, Mapping
from functools import partial
from typing import cast

import anyio
import structlog
from pydantic_core import from_json, to_json, to_jsonable_python

from app.agents.contract import Tool, ToolContext, ToolRefused
from app.agents.tools.results import as_result
from app.agents.tools.threads import Threads
from app.agents.turns import Usage
from app.agents.work import GOODBYE_TIMEOUT_S, Work, sayable, storable
from app.kernel.errors import Fault
from app.kernel.values import Json

THREADS = 16
"""how many plain functions work at once in a process; the next one waits"""
SHOWN_LIMIT_BYTES = 16 * 1024
OUTPUT_LIMIT_CHARS = 64 * 1024

_threads = Threads(THREADS)

log = structlog.get_logger(__name__)


async def call_tool(tool: Tool, work: Work, tool_call_id: str, arguments: Mapping[str, object]) -> object:
    """Errors: ToolRefused, BudgetReached, and nothing else."""
    name = getattr(tool, "__name__", "tool")
    await work.reserve(work.key, Usage(tool_calls=1))
    try:
        await work.tell(
            "tool_call_start",
            request=work.request - 1,  # the one that asked for it
            tool_call_id=tool_call_id,
            tool=name,
            arguments=shown(arguments),
        )
        context = ToolContext(work.turn, work.front_door, work.key, _Output(work, tool_call_id).show)
        try:
            result = await _result(name, tool, context, arguments)
        except ToolRefused as refused:
            await complete(work, tool_call_id, name, refused.reason, is_error=True)
            raise
        await complete(work, tool_call_id, name, result, is_error=False)
        return result
    finally:
        with anyio.move_on_after(GOODBYE_TIMEOUT_S, shield=True):  # also when the turn is being cancelled
            await work.settle(work.key, Usage(tool_calls=1))


async def complete(work: Work, tool_call_id: str, tool: str, result: object, *, is_error: bool) -> None:
    await work.tell("tool_call_complete", tool_call_id=tool_call_id, tool=tool, is_error=is_error, result=shown(result))


def shown(value: object) -> Json:
    """Give JSON's own values as they are, or the beginning of their text where it is long."""
    encoded = to_json(storable(to_jsonable_python(value, fallback=repr)), inf_nan_mode="null")
    if len(encoded) > SHOWN_LIMIT_BYTES:
        return encoded[:SHOWN_LIMIT_BYTES].decode("utf-8", "ignore") + "…"
    clean: Json = from_json(encoded)
    return clean


async def _result(name: str, tool: Tool, context: ToolContext, arguments: Mapping[str, object]) -> object:
    try:
        return as_result(await _called(tool, context, arguments))
    except ToolRefused:
        raise
    except Fault as fault:
        raise ToolRefused(fault.detail or fault.title) from fault
    except Exception as error:
        log.exception("tool.failed", tool=name, request_id=context.turn.request_id)
        raise ToolRefused(f"The tool {name} failed; the failure was logged. Do without it.") from error


async def _called(tool: Tool, context: ToolContext, arguments: Mapping[str, object]) -> object:
    call = partial(tool, context, **arguments)
    if inspect.iscoroutinefunction(tool):
        return await cast("Awaitable[object]", call())
    given = await _threads.run(call)
    return await given if inspect.isawaitable(given) else given


class _Output:
    """What a tool shows while it works, up to a limit."""

    def __init__(self, work: Work, tool_call_id: str) -> None:
        self._work = work
        self._tool_call_id = tool_call_id
        self._left_chars = OUTPUT_LIMIT_CHARS

    async def show(self, text: str) -> None:
        piece = sayable(text)[: self._left_chars]
        self._left_chars -= len(piece)
        if piece:
            await self._work.tell("tool_output_chunk", tool_call_id=self._tool_call_id, text=piece)
