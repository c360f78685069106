"""A run that hands work to other agents: each errand is a child of it, with its owner's authority and its time.

Facts
- The run's own end is when it stops waiting: drawn when it first hands something on, and kept, so that it is the same
  in every process. No errand may take longer, nor one that an errand hands on.
- What an errand came to is the result of its run; how it ended and what it cost stands in its row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from app.agents.contract import AgentTimedOut, Turn
from app.agents.errands import Errand, ErrandEnd, ErrandRefused, ErrandsFull
from app.features.runs.domain.delegation import IN_ALL, KIND, TRIGGER, DelegationLimits, DelegationOrder
from app.features.runs.domain.run import RunUsage
from app.features.runs.ports import RunStore
from app.infra.durable.ports import FamilyFull, NewChild, RunContext, StepKey
from app.kernel.authority import Authority, DelegatedTooDeep
from app.kernel.ids import RunId
from app.kernel.storable import storable_text
from app.kernel.transaction import Begin
from app.kernel.values import Json

STEP = "errand"
UNTIL = "errands_until"


@dataclass(slots=True)
class RunErrands:
    """Implements `agents.errands.Errands`. `until` is when this run would stop waiting that hands on now."""

    context: RunContext
    begin_tx: Begin
    runs: RunStore
    turn: Turn
    limits: DelegationLimits
    until: datetime
    _kept_until: datetime | None = None
    _ends: dict[RunId, ErrandEnd] = field(default_factory=dict)

    @property
    def depth(self) -> int:
        return self.turn.depth

    async def begin(self, errand: Errand) -> RunId:
        if self.depth >= self.limits.depth:
            raise ErrandRefused(f"Work may be handed on {self.limits.depth} times at most; do this yourself.")
        try:
            authority = Authority.of(self.turn.caller)
        except DelegatedTooDeep as deep:
            raise ErrandRefused(deep.detail) from deep
        order = DelegationOrder(
            prompt=storable_text(errand.prompt),
            authority=authority,
            depth=self.depth + 1,
            until=await self._until(errand.timeout_s),
            skill=errand.skill,
            thread=self.turn.own_thread,
            request_id=self.turn.request_id,
        )
        child = NewChild(KIND, TRIGGER, order.as_input(), errand.agent, within=self.limits.of_family)
        try:
            return await self.context.begin(STEP, child)
        except FamilyFull as full:
            if full.is_for_good:
                raise ErrandRefused(f"{IN_ALL} agents were asked for this already; do the rest yourself.") from full
            words = f"{self.limits.at_once} agents are at work for this already; wait for one, or do it yourself."
            raise ErrandsFull(words) from full

    async def join(self, runs: Sequence[RunId], *, at_least: int) -> Mapping[RunId, ErrandEnd]:
        until = await self._until(None)
        over = await self.context.join(runs, at_least=at_least, until=until)
        if len(over) < at_least:
            raise AgentTimedOut("The agents that were asked did not answer in time.")
        for run_id in over:
            if run_id not in self._ends:
                self._ends[run_id] = await self._end(run_id)
        return {run_id: self._ends[run_id] for run_id in over}

    async def _until(self, timeout_s: float | None) -> datetime:
        if self._kept_until is None:

            async def keep(key: StepKey) -> Json:
                del key
                return self.until.isoformat()

            self._kept_until = datetime.fromisoformat(str(await self.context.step(UNTIL, keep)))
        if timeout_s is None:
            return self._kept_until
        return min(self._kept_until, datetime.now(UTC) + timedelta(seconds=timeout_s))

    async def _end(self, run_id: RunId) -> ErrandEnd:
        async with self.begin_tx() as tx:
            run = await self.runs.find(tx, run_id)
        if run is None:  # removed by hand
            return ErrandEnd("interrupted")
        result = await self.context.read_child(run_id)
        text = result.get("text") if isinstance(result, Mapping) else None
        error = None if run.error is None else {"type": run.error.type, "detail": run.error.detail}
        return ErrandEnd(run.status.value, text if isinstance(text, str) else "", error, _told(run.usage))


def _told(usage: RunUsage) -> Mapping[str, Json]:
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "requests": usage.requests,
        "tool_calls": usage.tool_calls,
        "cost": usage.cost,
    }
