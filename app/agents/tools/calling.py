"""One call of a tool within its step: asked of the ledger, told from start to end, made in the caller's name.

What stands around the step is `performing.py`'s.
Rule: a broken tool is a result the model can act on, not the turn's end; only a budget that is reached ends the turn.
"""

import inspect
from collections.abc import Awaitable, Mapping
from functools import partial
from typing import Any, cast

import anyio
import structlog
from pydantic_core import from_json, to_json, to_jsonable_python

from app.agents.contract import Tool, ToolContext, ToolFunction, ToolRefused
from app.agents.tools.arguments import checked
from app.agents.tools.interceptors import Interceptors, Proceed, ToolCall, chained
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


async def call_tool(call: ToolCall, key: str, interceptors: Interceptors) -> object:
    """Make the call, under the key of its step. Errors: ToolRefused, BudgetReached, and nothing else."""
    work = call.work
    await work.reserve(key, Usage(tool_calls=1))
    try:
        await start(call)
        try:
            within = (*interceptors.results, *interceptors.inner)
            result = await refusing(call, chained(within, partial(_called, key)))
        except ToolRefused as refused:
            await complete(work, call.id, call.tool.name, refused.reason, is_error=True)
            raise
        await complete(work, call.id, call.tool.name, result, is_error=False)
        return result
    finally:
        with anyio.move_on_after(GOODBYE_TIMEOUT_S, shield=True):  # also when the turn is being cancelled
            await work.settle(key, Usage(tool_calls=1))


async def start(call: ToolCall) -> None:
    await call.work.tell(
        "tool_call_start",
        request=call.work.request - 1,  # the one that asked for it
        tool_call_id=call.id,
        tool=call.tool.name,
        arguments=shown(call.arguments),
    )


async def complete(work: Work, tool_call_id: str, tool: str, result: object, *, is_error: bool) -> None:
    await work.tell("tool_call_complete", tool_call_id=tool_call_id, tool=tool, is_error=is_error, result=shown(result))


def shown(value: object) -> Json:
    """Give JSON's own values as they are, or the beginning of their text where it is long."""
    encoded = to_json(storable(to_jsonable_python(value, fallback=repr)), inf_nan_mode="null")
    if len(encoded) > SHOWN_LIMIT_BYTES:
        return encoded[:SHOWN_LIMIT_BYTES].decode("utf-8", "ignore") + "…"
    clean: Json = from_json(encoded)
    return clean


async def refusing(call: ToolCall, proceed: Proceed) -> Json:
    """Go on with the call. Errors: ToolRefused, whatever went wrong."""
    name = call.tool.name
    try:
        return as_result(await proceed(call))
    except ToolRefused:
        raise
    except Fault as fault:
        raise ToolRefused(fault.detail or fault.title) from fault
    except Exception as error:
        log.exception("tool.failed", tool=name, request_id=call.work.turn.request_id)
        raise ToolRefused(f"The tool {name} failed; the failure was logged. Do without it.") from error


async def _called(key: str, call: ToolCall) -> object:
    """Call the tool, for as long as it shows signs of life."""
    tool, work = call.tool, call.work
    try:
        arguments = checked(tool, call.arguments, work.turn)
    except ValueError as error:
        raise ToolRefused(f"The arguments do not fit the tool: {error}") from error
    patience = anyio.CancelScope()
    output = _Output(call, patience)
    context = ToolContext(work.turn, work.front_door, key, output.show, output.progress)
    with patience:
        output.is_alive()
        return await tool.call(context, arguments)
    raise ToolRefused(_late(tool, output))


def _late(tool: Tool, output: "_Output") -> str:
    words = f"The tool {tool.name} gave no sign of life for {tool.traits.timeout_s:g} seconds and was ended."
    if tool.traits.risk.value != "reads":
        words += " What it did by then may stand: look before you call it again."
    return f"{words} The last it showed: {output.last}" if output.last else words


async def call_function(function: ToolFunction, context: ToolContext, arguments: Mapping[str, Any]) -> object:
    """Call an author's function; a plain one works in a thread."""
    call = partial(function, context, **arguments)
    if inspect.iscoroutinefunction(function):
        return await cast("Awaitable[object]", call())
    given = await _threads.run(call)
    return await given if inspect.isawaitable(given) else given


class _Output:
    """What a tool shows while it works, up to a limit; each piece is a sign of life."""

    def __init__(self, call: ToolCall, patience: anyio.CancelScope) -> None:
        self._call = call
        self._patience = patience
        self._left_chars = OUTPUT_LIMIT_CHARS
        self.last = ""

    def is_alive(self) -> None:
        self._patience.deadline = anyio.current_time() + self._call.tool.traits.timeout_s

    async def progress(self, how_far: Mapping[str, Json]) -> None:
        self.is_alive()
        await self._call.work.tell("run_progress", **how_far)

    async def show(self, text: str) -> None:
        self.is_alive()
        piece = sayable(text)[: self._left_chars]
        self._left_chars -= len(piece)
        if piece:
            self.last = piece[-200:]
            await self._call.work.tell("tool_output_chunk", tool_call_id=self._call.id, text=piece)
