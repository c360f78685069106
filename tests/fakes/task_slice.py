"""The use cases of tasks over fakes, with a worker that does them."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from app.features.approvals.use_cases.close_approvals import CloseApprovals
from app.features.notifications.domain.config import ANYWHERE
from app.features.runs.domain.run import Run
from app.features.runs.use_cases.ask_agent import AskAgent
from app.features.tasks.domain import research
from app.features.tasks.domain.task import KIND, NewTask, Task, TaskType
from app.features.tasks.use_cases.add_task import AddTask, Made
from app.features.tasks.use_cases.check_order import CheckOrder
from app.features.tasks.use_cases.create_batch import CreateBatch
from app.features.tasks.use_cases.create_task import CreateTask
from app.features.tasks.use_cases.delete_task import DeleteTask
from app.features.tasks.use_cases.do_research import DoResearch
from app.features.tasks.use_cases.do_task import DoTask
from app.features.tasks.use_cases.end_task import EndTask
from app.features.tasks.use_cases.execute_task import ExecuteTask
from app.features.tasks.use_cases.keep_secret import KeepSecret
from app.features.tasks.use_cases.plan_task import PlanTask
from app.features.tasks.use_cases.retry_failed import RetryFailed
from app.features.tasks.use_cases.start_task import StartTask
from app.features.tasks.use_cases.update_task import UpdateTask
from app.features.usage.domain.budget import Budgets
from app.features.usage.use_cases.close_run import CloseRun
from app.features.usage.use_cases.meter_run import MeterRun
from app.infra.db.sealing import AesSeal
from app.infra.durable.ports import Handlers, RunContext
from app.infra.events.batch import EventBatch
from app.kernel.clock import SystemClock
from app.kernel.identity import Principal
from app.kernel.ids import RunId, TaskId, UserId
from app.kernel.transaction import Tx
from app.kernel.values import Json
from tests.fakes.agents import ScriptedAgents
from tests.fakes.approvals import FakeApprovalStore
from tests.fakes.audit import FakeAuditStore
from tests.fakes.chat_slice import ANN, PATIENCE_S, ROLES
from tests.fakes.durable import FakeEngine, FakeEventLog, FakeRunQueue, FakeRuns, FakeWorker
from tests.fakes.keyed_requests import FakeKeyedRequests
from tests.fakes.ledger import FakeLedger
from tests.fakes.runs import FakeRunStore
from tests.fakes.slots import FakeAlarm, FakeSlotStore
from tests.fakes.tasks import FakeStanding, FakeTaskStore, RecordingOutcomes
from tests.fakes.webhooks import FakeSecretStore


@dataclass
class TaskSlice:
    agents: ScriptedAgents = field(default_factory=ScriptedAgents)
    standing: FakeStanding = field(default_factory=FakeStanding)
    outcomes: RecordingOutcomes = field(default_factory=RecordingOutcomes)
    receipts: FakeKeyedRequests = field(default_factory=FakeKeyedRequests)
    ledger: FakeLedger = field(default_factory=FakeLedger)
    approvals: FakeApprovalStore = field(default_factory=FakeApprovalStore)
    audit: FakeAuditStore = field(default_factory=FakeAuditStore)

    def __post_init__(self) -> None:
        self.store = FakeTaskStore(standing=self.standing)
        self.kept = FakeRuns(self.begin)
        self.runs = FakeRunStore(self.kept)
        self.log = FakeEventLog(self.kept)
        self.queue = FakeRunQueue(self.kept)
        self.secrets = KeepSecret(FakeSecretStore(), AesSeal(lambda: [b"k" * 32]))
        self.start = StartTask(self.queue, self.agents)
        self.slots, self.alarm = FakeSlotStore(self.store, self.kept), FakeAlarm()
        self.plan = PlanTask(self.slots, self.alarm)
        self.add = AddTask(self.store, self.start, self.plan, self.secrets, ANYWHERE)
        self.check = CheckOrder(self.begin, self.store, self.standing, ROLES)
        do = self.doing()
        do_research = DoResearch(self.begin, self.store, self.runs, self.check, do.end)
        self.handlers = Handlers({KIND: do, research.KIND: do_research})
        self.engine = FakeEngine(self.kept, self.handlers)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Tx]:
        async with self.store.begin() as tx:
            before = dict(self.kept.runs)
            try:
                yield tx
            except BaseException:
                self.kept.runs = before
                raise

    def doing(self) -> DoTask:
        close = CloseRun(self.ledger), CloseApprovals(self.approvals)
        end = EndTask(self.store, self.runs, self.start, self.outcomes, *close)
        meter = MeterRun(self.ledger, Budgets(), SystemClock())
        ask = AskAgent(self.begin, self.runs, self.agents, ROLES, meter, _batch_of)
        return DoTask(self.check, ask, end)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """A worker for as long as the block."""
        async with asyncio.TaskGroup() as group:
            task = group.create_task(FakeWorker(self.kept, self.handlers).work())
            try:
                yield
            finally:
                task.cancel()

    @property
    def create(self) -> CreateTask:
        return CreateTask(self.begin, self.store, self.agents, self.add, self.engine, self.receipts)

    @property
    def create_batch(self) -> CreateBatch:
        stores = self.store, self.runs, self.agents
        return CreateBatch(self.begin, *stores, self.add, self.engine, self.receipts)

    @property
    def retry_failed(self) -> RetryFailed:
        return RetryFailed(self.begin, self.store, self.runs, self.start, self.engine, self.audit)

    @property
    def execute(self) -> ExecuteTask:
        return ExecuteTask(self.begin, self.store, self.runs, self.start, self.engine, self.audit)

    @property
    def update(self) -> UpdateTask:
        return UpdateTask(self.begin, self.store, self.agents, self.add, self.engine, self.audit)

    @property
    def delete(self) -> DeleteTask:
        return DeleteTask(self.begin, self.store, self.runs, self.engine, self.audit)

    async def a_task(
        self,
        prompt: str = "hello",
        *needs: Task,
        who: Principal = ANN,
        type_: TaskType = TaskType.DELEGATION,
        settings: Mapping[str, Json] | None = None,
    ) -> Made:
        depends_on = tuple(task.id for task in needs)
        return await self.create(
            who, NewTask(UserId(who.user_id), type_, prompt, depends_on=depends_on, settings=settings)
        )

    async def task(self, task: Task) -> Task:
        """Read how it is now."""
        async with self.begin() as tx:
            found = await self.store.find_kept(tx, task.id)
        assert found is not None
        return found

    async def ended(self, run_id: RunId | None) -> Run:
        """Read a run once it is over."""
        assert run_id is not None
        async with asyncio.timeout(PATIENCE_S):
            assert [event async for event in self.log.follow(run_id)]
        async with self.begin() as tx:
            run = await self.runs.find(tx, run_id)
        assert run is not None
        return run

    def runs_of(self, task_id: TaskId) -> list[RunId]:
        return sorted(run.new.id for run in self.kept.runs.values() if run.new.task_id == task_id)


def _batch_of(context: RunContext) -> EventBatch:
    return EventBatch(context.progress)
