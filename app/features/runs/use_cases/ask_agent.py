"""Ask an agent in a run: what a worker does with every run that is answered by one."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import anyio

from app.agents.contract import AgentFailed, Agents, AgentTimedOut, Turn
from app.agents.turns import Said, TurnEvent
from app.features.runs.domain.agent_work import AGENT_FAILURES, error_of
from app.features.runs.domain.delegation import DelegationLimits
from app.features.runs.domain.repetition import Telling
from app.features.runs.ports import RunStore
from app.features.runs.use_cases.run_errands import RunErrands
from app.features.runs.use_cases.turn_journal import Batch, TurnJournal
from app.features.usage.domain.budget import Ancestor, Payer
from app.features.usage.use_cases.meter_run import MeterRun
from app.infra.durable.ports import Job, RunContext, RunFailed
from app.infra.events.ports import EventType, NewEvent
from app.kernel.authority import Authority
from app.kernel.errors import Fault
from app.kernel.identity import Principal, RoleTable
from app.kernel.transaction import Begin

LIMIT_S = 600
GOODBYE_S = 2.0
"""for what was said when the run was stopped, and what it cost, to be written down"""
_TIME_IS_UP = "The time of whoever handed this on is over."
SAID = (EventType.TEXT_DELTA, EventType.STREAM_RETRY, EventType.THINKING_DELTA)


@dataclass(frozen=True, slots=True)
class AskAgent:
    """Have the run's agent answer, with no transaction open.

    What the agent says and does goes into the run's journal, and what it spends onto the accounts of its budgets; a run
    that another process began goes on where that one stopped. Errors: RunFailed, which holds what was said until then.
    """

    begin: Begin
    runs: RunStore
    agents: Agents
    roles: RoleTable
    meter: MeterRun
    batching: Callable[[RunContext], Batch]
    limit_s: float = LIMIT_S
    limits: DelegationLimits = field(default_factory=DelegationLimits)

    def agent_of(self, job: Job) -> str:
        return job.agent or self.agents.default_name

    def caller_of(self, job: Job, authority: Authority) -> Principal:
        """Make the caller in whose name the agent works."""
        return authority.in_run(job.id, job.epoch, agent=self.agent_of(job), table=self.roles)

    async def __call__(self, context: RunContext, turn: Turn, *, until: datetime | None = None) -> Said:
        """Ask until that moment at the latest, which is that of whoever waits for the answer."""
        job, agent = context.job, self.agent_of(context.job)
        telling, ancestors = await self._read(job)
        journal = TurnJournal(context, self.batching(context), telling)
        payer = Payer(job.id, job.owner, job.chat_id, agent, ancestors)
        end, timeout_s = self._time_until(until)
        errands = RunErrands(context, self.begin, self.runs, turn, self.limits, end)
        try:
            if timeout_s <= 0:
                raise AgentTimedOut(_TIME_IS_UP)
            async with self.meter(payer, is_resumed=journal.is_resumed) as spending:
                said = await self.agents.answer(
                    agent, turn, journal=journal, timeout_s=timeout_s, spending=spending, errands=errands
                )
            await journal.settle()
            if not journal.telling.text.strip():
                raise AgentFailed("The agent gave no answer.")
        except AGENT_FAILURES as fault:
            await journal.settle()
            await _tell_when_to_retry(journal, fault)
            raise RunFailed(error_of(fault)) from fault
        except asyncio.CancelledError:
            with anyio.move_on_after(GOODBYE_S, shield=True):
                await journal.batch.flush()
            raise
        return said

    def _time_until(self, until: datetime | None) -> tuple[datetime, float]:
        now = datetime.now(UTC)
        end = now + timedelta(seconds=self.limit_s)
        end = end if until is None else min(end, until)
        return end, (end - now).total_seconds()

    async def _read(self, job: Job) -> tuple[Telling, Sequence[Ancestor]]:
        """Read what was shown before, and in whose course the run was begun; of most runs neither is there."""
        telling, is_resumed, is_child = Telling(), job.epoch > 1, job.parent_id is not None
        if not is_resumed and not is_child:
            return telling, ()
        async with self.begin() as tx:
            for event in await self.runs.events(tx, job.id, SAID) if is_resumed else ():
                telling.has_shown(TurnEvent(event.type, event.data))
            above = await self.runs.ancestors(tx, job.id) if is_child else ()
        return telling, [Ancestor(run.id, run.agent or "") for run in above]


async def _tell_when_to_retry(journal: TurnJournal, fault: Fault) -> None:
    """Say when trying again may help, where the fault knows."""
    after = fault.headers.get("retry-after")
    if after is not None:
        await journal.context.progress([NewEvent(EventType.RUN_PROGRESS, {"retry_after": after})])
