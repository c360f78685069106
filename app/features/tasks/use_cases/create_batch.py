"""Set agents to many tasks at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from app.agents.contract import AgentDirectory, AgentUnknown, refuse_unknown_agent
from app.features.runs.ports import RunStore
from app.features.tasks.domain.batch import Batch, count_problems, problems_of
from app.features.tasks.domain.task import NewTask
from app.features.tasks.ports import TaskStore
from app.features.tasks.use_cases.access import open_batch
from app.features.tasks.use_cases.add_task import AddTask
from app.infra.durable.ports import Engine
from app.kernel.errors import FieldError, ValidationFailed, refuse_invalid
from app.kernel.identity import Principal
from app.kernel.ids import RunId, new_run_id
from app.kernel.keyed_requests import KeyedRequest, Receipts
from app.kernel.transaction import Begin, Tx


@dataclass(frozen=True, slots=True)
class CreateBatch:
    """Keep all of them or none; those that begin by themselves begin. However often a keyed request comes, it is one.

    Errors: ValidationFailed, which names each field as that of its task; DelegatedTooDeep.
    """

    begin: Begin
    tasks: TaskStore
    runs: RunStore
    agents: AgentDirectory
    add: AddTask
    engine: Engine
    receipts: Receipts

    async def __call__(self, who: Principal, drafts: Sequence[NewTask], *, keyed: KeyedRequest | None = None) -> Batch:
        refuse_invalid(count_problems(len(drafts)))
        refuse_invalid([one for number, draft in enumerate(drafts) for one in self._problems(number, draft)])
        async with self.begin() as tx:
            known = None if keyed is None else await self.receipts.find(tx, keyed)
            batch_id = new_run_id() if known is None else UUID(known)
            begun = await self._add(tx, drafts, who, batch_id) if known is None else []
            if keyed is not None and known is None:
                await self.receipts.note(tx, keyed, str(batch_id))
            batch = await open_batch(self.tasks, self.runs, tx, who, batch_id)
        for run_id in begun:
            await self.engine.dispatch(run_id)
        self.add.ring(*batch.tasks)
        return batch

    def _problems(self, number: int, draft: NewTask) -> Sequence[FieldError]:
        problems = draft.problems()
        try:
            refuse_unknown_agent(self.agents, draft.agent)
        except AgentUnknown as unknown:
            problems += unknown.errors
        return problems_of(number, problems)

    async def _add(self, tx: Tx, drafts: Sequence[NewTask], who: Principal, batch_id: UUID) -> Sequence[RunId]:
        begun = []
        for number, draft in enumerate(drafts):
            try:
                made = await self.add(tx, draft, who, batch_id=batch_id)
            except ValidationFailed as invalid:
                raise ValidationFailed(invalid.detail, errors=problems_of(number, invalid.errors)) from invalid
            if made.run_id is not None:
                begun.append(made.run_id)
        return begun
