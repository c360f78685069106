"""End a run that was handed on."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.features.approvals.use_cases.close_approvals import CloseApprovals
from app.features.usage.use_cases.close_run import CloseRun
from app.infra.durable.ports import Ended, RunContext
from app.infra.events.ports import NewEvent
from app.kernel.transaction import Tx
from app.kernel.values import Json


@dataclass(frozen=True, slots=True)
class EndDelegation:
    """What every process knows of errands: how one ends. The handler of those where no agent works."""

    close: CloseRun
    close_approvals: CloseApprovals

    async def run(self, context: RunContext) -> Json:
        raise RuntimeError(f"no agent works in this process; it took the run {context.job.id}")

    async def settle(self, tx: Tx, ended: Ended) -> Sequence[NewEvent]:
        closed = await self.close_approvals(tx, ended.job.id)
        await self.close(tx, ended.job.id)
        return closed
