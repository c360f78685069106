"""Calls that hand work to other agents: begun side by side, waited for without a process, told and kept like any call.

Facts
- Those that stand side by side in one answer of a model are begun before any of them is waited for, so they take the
  time of the longest. Which of them ends first changes nothing that is kept.
- Names of steps are kept in journals, so they never change: `handed.NAME` is the call as it was put, `agent_started`
  and `agent_completed.RUN` what is told of an errand, `tool.NAME` what the call came to, as of any call.
- A call that is told again after a crash is the same errand: it is begun under the name of its step, once.
- `agent_completed` may be told twice where the process died behind it; its `run_id` says of what.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from app.agents.contract import Tool, ToolRefused
from app.agents.errands import Errand, ErrandEnd, ErrandRefused, ErrandsFull
from app.agents.tools.arguments import checked
from app.agents.tools.calling import complete, refusing, start
from app.agents.tools.interceptors import Interceptors, ToolCall, chained
from app.agents.tools.together import following
from app.agents.turns import Usage
from app.agents.work import Handed, Work, storable
from app.kernel.ids import RunId
from app.kernel.values import Json

ORIGIN = "errand"
"""of the tools whose calls are made here"""
RUN = "run_agent"
RESULT = "agent_result"
AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a call of `run_agent` says, checked."""

    errand: Errand
    is_background: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a call: refused (`is_told` where its end was told already), begun, or over."""

    refused: str = ""
    is_told: bool = False
    run_id: RunId | None = None
    end: ErrandEnd | None = None


async def hand_on(call: ToolCall, interceptors: Interceptors) -> Outcome:
    """Do what a call of these tools says, up to its end. Errors: BudgetReached."""
    work, key = call.work, (call.work.request, call.id)
    if call.tool.name == RESULT:
        return await _result_of(call, interceptors)
    if key not in work.outcomes:
        group = following(call, is_guarded=bool(interceptors.guards), at_most=AT_ONCE, fits=_is_run)
        made = await _Batch(work, interceptors).make(group)
        work.outcomes = {(work.request, id_): outcome for id_, outcome in made.items()}
    return cast("Outcome", work.outcomes.pop(key))


async def take_outcome(call: ToolCall, outcome: Outcome, interceptors: Interceptors) -> object:
    """Within the call's step: tell what it comes to, and give it. Errors: ToolRefused."""

    async def given(passed: ToolCall) -> object:
        return _result(passed, outcome)

    try:
        result = await refusing(call, chained(interceptors.results, given))
    except ToolRefused as refused:
        await complete(call.work, call.id, call.tool.name, refused.reason, is_error=True)
        raise
    await complete(call.work, call.id, call.tool.name, result, is_error=False)
    return result


def _result(call: ToolCall, outcome: Outcome) -> object:
    """Errors: ToolRefused."""
    if outcome.refused:
        raise ToolRefused(outcome.refused)
    handed = call.work.handed[cast("RunId", outcome.run_id)]
    told: dict[str, Json] = {"agent": handed.agent, "run_id": str(outcome.run_id)}
    if outcome.end is None:
        return {**told, "status": "started", "next": f"{RESULT} gives what it comes to"}
    if not outcome.end.is_done:
        error = outcome.end.error or {"type": outcome.end.status, "detail": "It was stopped."}
        raise ToolRefused(f"The agent {handed.agent} did not finish: {error['type']}: {error['detail']}")
    return {**told, "answer": outcome.end.text}


@dataclass(slots=True)
class _Batch:
    """The calls of one answer that hand work on. `begun` are those it waits for, by their calls."""

    work: Work
    interceptors: Interceptors
    begun: dict[str, RunId] = field(default_factory=dict)
    ends_needed: int = 0

    async def make(self, calls: Sequence[ToolCall]) -> Mapping[str, Outcome]:
        outcomes = {call.id: await self._begin(call) for call in calls}
        ends = await _follow(self.work, self._by_run(), at_least=len(self.begun))
        over = {id_: Outcome(run_id=run_id, end=ends[run_id]) for id_, run_id in self.begun.items()}
        return {**outcomes, **over}

    async def _begin(self, call: ToolCall) -> Outcome:
        refused = await put(call, self.interceptors)
        if refused is not None:
            return Outcome(refused, is_told=True)
        wanted = cast("Wanted", checked(call.tool, call.arguments, self.work.turn)["wanted"])
        try:
            run_id = await self._room_for(wanted.errand)
        except ErrandRefused as refusal:
            return Outcome(refusal.reason)
        self.work.handed[run_id] = Handed(call.id, wanted.errand.agent, wanted.errand.skill)
        await _tell_start(self.work, run_id, is_background=wanted.is_background)
        if not wanted.is_background:
            self.begun[call.id] = run_id
        return Outcome(run_id=run_id)

    async def _room_for(self, errand: Errand) -> RunId:
        """Begin an errand, as soon as there is a place; those begun here make one. Errors: ErrandRefused."""
        while True:
            try:
                return await self.work.begin(errand)
            except ErrandsFull:
                # as often as it was refused before, in whatever process: what is kept comes in the same order
                self.ends_needed += 1
                if self.ends_needed > len(self.begun):
                    raise
                await _follow(self.work, self._by_run(), at_least=self.ends_needed)

    def _by_run(self) -> Mapping[RunId, str]:
        return {run_id: id_ for id_, run_id in self.begun.items()}


async def _result_of(call: ToolCall, interceptors: Interceptors) -> Outcome:
    refused = await put(call, interceptors)
    if refused is not None:
        return Outcome(refused, is_told=True)
    work = call.work
    run_id = cast("RunId", checked(call.tool, call.arguments, work.turn)["run_id"])
    if run_id not in work.handed:
        known = ", ".join(str(one) for one in work.handed) or "none"
        return Outcome(f"This turn has begun no such run; those it began: {known}.")
    ends = await _follow(work, [run_id], at_least=1)
    return Outcome(run_id=run_id, end=ends[run_id])


async def _follow(
    work: Work, runs: Sequence[RunId] | Mapping[RunId, str], *, at_least: int
) -> Mapping[RunId, ErrandEnd]:
    """Wait until so many are over, and tell of each that is."""
    ids = list(runs)
    while ids:
        ends = await work.join(ids, at_least=0)
        for run_id in ids:
            if run_id in ends:
                await _tell_end(work, run_id, ends[run_id])
        if len(ends) >= at_least:
            return ends
        await work.join(ids, at_least=at_least)
    return {}


async def put(call: ToolCall, interceptors: Interceptors) -> str | None:
    """Tell that the call is made, once; gives why it was refused instead. Errors: BudgetReached."""

    async def allowed(passed: ToolCall) -> object:
        try:
            checked(passed.tool, passed.arguments, passed.work.turn)
        except ValueError as error:
            raise ToolRefused(f"The arguments do not fit the tool: {error}") from error
        return None

    async def within(key: str) -> Json:
        work = call.work
        await work.reserve(key, Usage(tool_calls=1))
        try:
            await start(call)
            await refusing(call, chained(interceptors.inner, allowed))
        except ToolRefused as refused:
            await complete(work, call.id, call.tool.name, refused.reason, is_error=True)
            return str(storable(refused.reason))
        finally:
            await work.settle(key, Usage(tool_calls=1))
        return None

    kept = await call.work.step(f"handed.{call.tool.name}", within, said_under={"tool_call_id": call.id})
    return kept if isinstance(kept, str) else None


async def _tell_start(work: Work, run_id: RunId, *, is_background: bool) -> None:
    async def tell(key: str) -> Json:
        del key
        await work.tell("agent_started", **_about(work, run_id), background=is_background)
        return None

    await work.step("agent_started", tell, said_under={})


async def _tell_end(work: Work, run_id: RunId, end: ErrandEnd) -> None:
    async def tell(key: str) -> Json:
        del key
        error: Json = None if end.error is None else dict(end.error)
        about = _about(work, run_id)
        await work.tell("agent_completed", **about, status=end.status, error=error, usage=dict(end.usage))
        return None

    if run_id not in work.told_ends:
        await work.step(f"agent_completed.{run_id}", tell, said_under={})
        work.told_ends.add(run_id)


def _about(work: Work, run_id: RunId) -> Mapping[str, Json]:
    handed = work.handed[run_id]
    return {
        "tool_call_id": handed.call,
        "run_id": str(run_id),
        "agent": handed.agent,
        "skill": handed.skill or None,
        "depth": work.errands.depth + 1,
    }


def _is_run(tool: Tool) -> bool:
    return tool.origin == ORIGIN and tool.name == RUN
