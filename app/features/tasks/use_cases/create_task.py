"""Set an agent to work."""

from dataclasses import dataclass
from uuid import UUID

from app.agents.contract import AgentDirectory, refuse_unknown_agent
from app.features.tasks.domain.task import NewTask
from app.features.tasks.ports import TaskStore
from app.features.tasks.use_cases.access import checked_task
from app.features.tasks.use_cases.add_task import AddTask, Made
from app.infra.durable.ports import Engine
from app.kernel.errors import refuse_invalid
from app.kernel.identity import Principal
from app.kernel.ids import TaskId
from app.kernel.keyed_requests import KeyedRequest, Receipts
from app.kernel.transaction import Begin, Tx


@dataclass(frozen=True, slots=True)
class CreateTask:
    """Keep a task of the caller's; one that begins by itself begins in the same transaction, unless it waits for some.

    However often a keyed request comes, it is one task.

    Errors: ValidationFailed, AgentUnknown, DelegatedTooDeep, SealBroken; TaskNotFound when an earlier try's task was
    deleted since.
    """

    begin: Begin
    tasks: TaskStore
    agents: AgentDirectory
    add: AddTask
    engine: Engine
    receipts: Receipts

    async def __call__(self, who: Principal, draft: NewTask, *, keyed: KeyedRequest | None = None) -> Made:
        refuse_invalid(draft.problems())
        refuse_unknown_agent(self.agents, draft.agent)
        async with self.begin() as tx:
            made = await (self.add(tx, draft, who) if keyed is None else self._add_once(tx, draft, who, keyed))
        if made.run_id is not None:
            await self.engine.dispatch(made.run_id)
        self.add.ring(made.task)
        return made

    async def _add_once(self, tx: Tx, draft: NewTask, who: Principal, keyed: KeyedRequest) -> Made:
        known = await self.receipts.find(tx, keyed)
        if known is not None:
            task = checked_task(await self.tasks.find(tx, TaskId(UUID(known))), who)
            return await self.add.again(tx, task, who)
        made = await self.add(tx, draft, who)
        await self.receipts.note(tx, keyed, str(made.task.id))
        return made
