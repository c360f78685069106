"""The whole way of a call: its guards, its step, and what of it is told and kept, so that it is made once.

Facts
- Names of steps are kept in journals, so they never change: `tool.NAME` is a call, `refused.NAME` one that was
  not made, `doubt.NAME` what is told of one nobody knows about.
- What a guard refuses was never begun; nobody knows about what died in the midst and must not be done twice.
"""

from collections.abc import Mapping
from typing import cast

from app.agents.contract import ToolRefused, TurnUnreadable
from app.agents.tools.calling import call_tool, complete, start
from app.agents.tools.interceptors import Interceptors, ToolCall, chained
from app.agents.turns import InDoubt
from app.agents.work import storable
from app.kernel.values import Json

FORMAT = 2
"""Of kept calls; a program that writes them differently counts on."""

_IN_DOUBT = (
    "It is not known whether this was done: the program stopped in the midst of it. Do not call the tool again before "
    "you have found out, or the person who asked has said so."
)


async def perform(call: ToolCall, interceptors: Interceptors) -> Json:
    """Make a call, or give what it came to when it was made. Errors: ToolRefused, BudgetReached, TurnUnreadable."""
    was_told = False

    async def in_step(passed: ToolCall) -> object:
        nonlocal was_told
        kept = await _kept(passed, interceptors)
        was_told = True
        return _read(kept)

    try:
        return cast("Json", await chained(interceptors.guards, in_step)(call))
    except InDoubt as doubt:
        await _tell_refusal(call, _IN_DOUBT, is_begun=True)
        raise ToolRefused(_IN_DOUBT) from doubt
    except ToolRefused as refused:
        if not was_told:
            await _tell_refusal(call, refused.reason, is_begun=False)
        raise


async def _kept(call: ToolCall, interceptors: Interceptors) -> Json:
    async def act(key: str) -> Json:
        del key  # the tool finds it in its work
        try:
            result = await call_tool(call, interceptors.inner)
        except ToolRefused as refused:
            return {"format": FORMAT, "refused": storable(refused.reason)}
        return {"format": FORMAT, "result": storable(result)}

    said_under = {"tool_call_id": call.id}
    name, traits = f"tool.{call.tool.name}", call.tool.traits
    return await call.work.step(name, act, said_under=said_under, is_idempotent=traits.is_idempotent)


def _read(kept: Json) -> Json:
    match kept:
        case {"format": int(format_), "result": result} if format_ == FORMAT:
            return result
        case {"format": int(format_), "refused": str(reason)} if format_ == FORMAT:
            raise ToolRefused(reason)
    raise TurnUnreadable(
        "The turn was begun by another version of the program; what that one wrote down cannot be gone on with.",
        evidence={"kept": sorted(kept) if isinstance(kept, Mapping) else type(kept).__name__},
    )


async def _tell_refusal(call: ToolCall, reason: str, *, is_begun: bool) -> None:
    """Tell, once, how a call ended that has no step of its own."""

    async def tell(key: str) -> Json:
        del key
        if not is_begun:
            await start(call)
        await complete(call.work, call.id, call.tool.name, reason, is_error=True)
        return None

    name = f"doubt.{call.tool.name}" if is_begun else f"refused.{call.tool.name}"
    await call.work.step(name, tell, said_under={"tool_call_id": call.id})
