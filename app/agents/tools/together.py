"""Reads that a model asks for in one answer are made at once, in one step of the turn's journal.

Facts
- One step (`reads`) for all of them: the journal goes on from it whole or does them again, which reads allow; so steps
  come one after another as ever, and which read was faster changes nothing that is kept.
- Only reads that stand side by side: what writes is made alone, and nothing behind it before it.
- Each has a key of its own, the step's and its place. What a person has yet to approve is not among them.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from pydantic_core import to_json

from app.agents.contract import Risk, Tool, ToolRefused, TurnUnreadable
from app.agents.rules import Verdict
from app.agents.tools.arguments import checked, own_arguments
from app.agents.tools.calling import call_tool
from app.agents.tools.interceptors import Interceptors, ToolCall
from app.agents.tools.results import as_result
from app.agents.turns import STEP_LIMIT_BYTES
from app.agents.work import WantedCall, Work, storable
from app.kernel.values import Json

NAME = "reads"
AT_ONCE = 8
KEPT_LIMIT_BYTES = STEP_LIMIT_BYTES * 3 // 4


def side_by_side(call: ToolCall, *, is_guarded: bool) -> Sequence[ToolCall]:
    """Give the reads of the same answer that may be made at once with this one, itself first. Pure."""
    return following(call, is_guarded=is_guarded, at_most=AT_ONCE, fits=_only_reads)


def following(call: ToolCall, *, is_guarded: bool, at_most: int, fits: Callable[[Tool], bool]) -> Sequence[ToolCall]:
    """Give the calls that stand right behind this one in its answer and are of a kind, itself first. Pure."""
    work, ids = call.work, [one.id for one in call.work.calls]
    if not fits(call.tool) or ids.count(call.id) != 1 or len(set(ids)) != len(ids):
        return [call]
    found = [call]
    for wanted in work.calls[ids.index(call.id) + 1 :][: at_most - 1]:
        other = _as_made(wanted, work)
        if other is None or not fits(other.tool) or (is_guarded and not _is_let_through(other)):
            break
        found.append(other)
    return found


async def make_at_once(calls: Sequence[ToolCall], interceptors: Interceptors) -> Mapping[str, Json]:
    """Make the calls, or give what they came to when they were made: by their ids, each a result or a refusal.

    Errors: BudgetReached, TurnUnreadable.
    """

    async def act(key: str) -> Json:
        made = await _gathered(calls, key, interceptors)
        return {"calls": fitted(made, KEPT_LIMIT_BYTES)}

    work = calls[0].work
    first, *others = [{"tool_call_id": call.id} for call in calls]
    match await work.step(NAME, act, said_under=first, also_said_under=others):
        case {"calls": Mapping() as made} if all(call.id in made for call in calls):
            return made
    raise TurnUnreadable("The turn was begun by another version of the program, which made other calls at once.")


async def _gathered(calls: Sequence[ToolCall], key: str, interceptors: Interceptors) -> dict[str, dict[str, Json]]:
    try:
        async with asyncio.TaskGroup() as group:
            tasks = {
                call.id: group.create_task(_made(call, f"{key}.{at}", interceptors)) for at, call in enumerate(calls)
            }
    except BaseExceptionGroup as failed:
        graver = [error for error in failed.exceptions if not isinstance(error, Exception)]
        raise (*graver, *failed.exceptions)[0] from None
    return {id_: task.result() for id_, task in tasks.items()}


async def _made(call: ToolCall, key: str, interceptors: Interceptors) -> dict[str, Json]:
    try:
        return {"result": storable(await call_tool(call, key, interceptors))}
    except ToolRefused as refused:
        return {"refused": storable(refused.reason)}


def fitted(made: Mapping[str, Mapping[str, Json]], limit_bytes: int) -> Mapping[str, Json]:
    """Shorten what is longest until all of it can be kept."""
    kept, share = made, limit_bytes
    while len(to_json(kept)) > limit_bytes:
        share //= 2
        cut = partial(as_result, limit_bytes=share)
        kept = {id_: {word: cut(value) for word, value in one.items()} for id_, one in made.items()}
    return dict(kept)


def _only_reads(tool: Tool) -> bool:
    """Those of the turn itself (`search_tools`, `read_output`) change what the turn shows, so they have their order."""
    is_plain = not tool.is_the_clients and tool.origin != "turn"
    return is_plain and tool.traits.risk is Risk.READS and tool.traits.is_idempotent


def _as_made(wanted: WantedCall, work: Work) -> ToolCall | None:
    """Give a call as it will come, None where it will not: of those the model is told so in their turn."""
    tool = work.tools.get(wanted.tool)
    if tool is None or wanted.tool in work.hidden or wanted.arguments is None:
        return None
    try:
        checked(tool, wanted.arguments, work.turn)
    except ValueError:
        return None
    return ToolCall(wanted.id, tool, own_arguments(tool, wanted.arguments), work)


def _is_let_through(call: ToolCall) -> bool:
    return any(one.call == call.id and one.verdict is Verdict.ALLOW for one in call.work.judged)
