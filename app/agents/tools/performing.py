"""The whole way of a call: its guards, its step, and what of it is told and kept, so that it is made once.

Facts
- Names of steps are kept in journals, so they never change: `tool.NAME` is a call, `refused.NAME` one that was
  not made, `doubt.NAME` what is told of one nobody knows about; `asking.py` has those of a call the client makes,
  `errands.py` those of one that hands work on, `together.py` that of reads that are made at once.
- What a guard refuses was never begun; nobody knows about what died in the midst and must not be done twice.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import cast

from app.agents.contract import ToolRefused, TurnUnreadable
from app.agents.tools import errands
from app.agents.tools.asking import ask_client, take_answer
from app.agents.tools.calling import call_tool, complete, start
from app.agents.tools.interceptors import Interceptors, ToolCall, chained
from app.agents.tools.together import make_at_once, side_by_side
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
        if passed.tool.is_the_clients:
            was_told = True  # also where it is not put to the client
            answer = await ask_client(passed, interceptors)
            return _read(await _kept(passed, lambda _: take_answer(passed, answer, interceptors)))
        if passed.tool.origin == errands.ORIGIN:
            outcome = await errands.hand_on(passed, interceptors)
            was_told = True
            if outcome.is_told:
                raise ToolRefused(outcome.refused)
            return _read(await _kept(passed, lambda _: errands.take_outcome(passed, outcome, interceptors)))
        kept = await _kept_at_once(passed, interceptors)
        if kept is None:
            kept = await _kept(passed, lambda key: call_tool(passed, key, interceptors))
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


async def _kept_at_once(call: ToolCall, interceptors: Interceptors) -> Json:
    """Give what a read came to that was made with its neighbours; None where it has none."""
    work = call.work
    if (work.request, call.id) not in work.ahead:
        calls = side_by_side(call, is_guarded=bool(interceptors.guards))
        if len(calls) == 1:
            return None
        made = await make_at_once(calls, interceptors)
        work.ahead = {(work.request, id_): outcome for id_, outcome in made.items()}
    return {"format": FORMAT, **cast("Mapping[str, Json]", work.ahead.pop((work.request, call.id)))}


async def _kept(call: ToolCall, make: Callable[[str], Awaitable[object]]) -> Json:
    async def act(key: str) -> Json:
        try:
            result = await make(key)
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
