"""Change a task, or whether it is enabled."""

from dataclasses import dataclass

from app.agents.contract import AgentDirectory, refuse_unknown_agent
from app.features.tasks.domain.task import Task, TaskChange
from app.features.tasks.ports import TaskStore
from app.features.tasks.use_cases.access import checked_task, open_task
from app.features.tasks.use_cases.add_task import AddTask
from app.infra.durable.ports import Engine
from app.kernel.audit import AuditTrail, record_on_others
from app.kernel.authority import Authority
from app.kernel.errors import refuse_invalid
from app.kernel.identity import Principal
from app.kernel.ids import TaskId
from app.kernel.transaction import Begin
from app.kernel.values import KEPT


@dataclass(frozen=True, slots=True)
class UpdateTask:
    """Change what the change names and leave the rest, from the next run on.

    What the owner changes works with the rights the owner has now; what an admin changes, with those it had. A task
    that waited only to be enabled begins, and a schedule that is changed or enabled counts anew.
    Errors: ValidationFailed, AgentUnknown, TaskNotFound, DelegatedTooDeep.
    """

    begin: Begin
    tasks: TaskStore
    agents: AgentDirectory
    add: AddTask
    engine: Engine
    audit: AuditTrail

    async def __call__(self, who: Principal, task_id: TaskId, change: TaskChange) -> Task:
        if change.agent is not KEPT:
            refuse_unknown_agent(self.agents, change.agent)
        if change.notification_config is not KEPT:
            self.add.refuse_out_of_reach(change.notification_config)
        async with self.begin() as tx:
            task = await open_task(self.tasks, tx, who, task_id)
            refuse_invalid(change.problems(task))
            if change.enabled is True:  # it may begin, so its lane comes before its row
                await self.add.start.hold(tx, [task_id])
            authority = Authority.of(who) if task.owner == who.user_id else None
            await record_on_others(self.audit, tx, who, "task.updated", task_id, owner=task.owner)
            changed = checked_task(await self.tasks.update(tx, task_id, change, authority=authority), who)
            if is_planned := await self.add.plan.again(tx, task, change, changed):
                changed = checked_task(await self.tasks.find(tx, task_id), who)
            is_new = changed.enabled and not task.enabled
            run_id = await self.add.begin(tx, changed, who) if is_new else None
        if run_id is not None:
            await self.engine.dispatch(run_id)
        if is_planned:
            self.add.plan.ring()
        return changed
