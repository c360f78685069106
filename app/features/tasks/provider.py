"""What the slice adds to the container. It asks others for `Begin`, agents, the engine, runs, receipts, `Outcomes`."""

from collections.abc import Mapping
from functools import partial
from typing import NewType

from dishka import Provider, Scope, provide, provide_all

from app.features.tasks.domain import research
from app.features.tasks.domain.task import KIND
from app.features.tasks.ports import Alarm, DeliveryStore, HistoryStore, SecretStore, SlotStore, TaskStore
from app.features.tasks.repository.alarm import HintedAlarm
from app.features.tasks.repository.history import PostgresHistoryStore
from app.features.tasks.repository.slots import PostgresSlotStore
from app.features.tasks.repository.tasks import PostgresTaskStore
from app.features.tasks.repository.webhooks import PostgresDeliveryStore, PostgresSecretStore
from app.features.tasks.use_cases.add_task import AddTask
from app.features.tasks.use_cases.check_order import CheckOrder
from app.features.tasks.use_cases.create_batch import CreateBatch
from app.features.tasks.use_cases.create_task import CreateTask
from app.features.tasks.use_cases.delete_task import DeleteTask
from app.features.tasks.use_cases.do_research import DoResearch
from app.features.tasks.use_cases.do_task import DoTask
from app.features.tasks.use_cases.end_task import EndTask
from app.features.tasks.use_cases.execute_task import ExecuteTask
from app.features.tasks.use_cases.fire_slots import FireSlots
from app.features.tasks.use_cases.keep_schedules import KeepSchedules
from app.features.tasks.use_cases.keep_secret import KeepSecret
from app.features.tasks.use_cases.list_reports import ListReports
from app.features.tasks.use_cases.list_task_runs import ListTaskRuns
from app.features.tasks.use_cases.list_tasks import ListTasks
from app.features.tasks.use_cases.plan_task import PlanTask
from app.features.tasks.use_cases.read_batch import ReadBatch
from app.features.tasks.use_cases.read_history import ReadHistory, ReadStatistics
from app.features.tasks.use_cases.read_report import ReadReport
from app.features.tasks.use_cases.read_task import ReadTask
from app.features.tasks.use_cases.restore_task import RestoreTask
from app.features.tasks.use_cases.retry_failed import RetryFailed
from app.features.tasks.use_cases.rotate_secret import RotateSecret
from app.features.tasks.use_cases.start_task import StartTask
from app.features.tasks.use_cases.sweep_deliveries import SWEEP_S, sweep_deliveries
from app.features.tasks.use_cases.take_delivery import TakeDelivery
from app.features.tasks.use_cases.update_task import UpdateTask
from app.features.tasks.use_cases.withdraw_tasks import WithdrawTasks
from app.infra.db.hints import PostgresHints
from app.infra.durable.ports import Handler
from app.infra.observability.background import Background, every
from app.kernel.transaction import Begin

WITHDRAW_S = 60

TaskHandlers = NewType("TaskHandlers", Mapping[str, Handler])
"""What the slice does with runs."""


class TaskStores(Provider):
    """What every process needs that may end a run; ports by name, so that a provider given after this replaces them."""

    scope = Scope.APP

    tasks = provide(PostgresTaskStore, provides=TaskStore)
    use_cases = provide_all(StartTask, EndTask, PlanTask)

    @provide
    def slots(self) -> SlotStore:
        return PostgresSlotStore()

    @provide
    def alarm(self, hints: PostgresHints) -> Alarm:
        return HintedAlarm(hints)


class TasksProvider(Provider):
    """What is done for requests."""

    scope = Scope.APP

    secrets = provide(PostgresSecretStore, provides=SecretStore)
    history = provide(PostgresHistoryStore, provides=HistoryStore)
    use_cases = provide_all(
        AddTask,
        ReadHistory,
        ReadStatistics,
        CreateTask,
        ListTasks,
        ReadTask,
        ReadReport,
        UpdateTask,
        DeleteTask,
        RestoreTask,
        ExecuteTask,
        ListReports,
        ListTaskRuns,
        CreateBatch,
        ReadBatch,
        RetryFailed,
        KeepSecret,
    )


class WebhooksProvider(Provider):
    """What is done for deliveries; asks for the clock, too."""

    scope = Scope.APP

    use_cases = provide_all(RotateSecret, TakeDelivery)

    @provide
    def deliveries(self, begin: Begin, background: Background) -> DeliveryStore:
        store = PostgresDeliveryStore()
        background.add("old deliveries", every(SWEEP_S, partial(sweep_deliveries, begin, store)))
        return store


class TasksAtWork(Provider):
    """Tasks where runs are worked on."""

    scope = Scope.APP

    doing = provide_all(CheckOrder, DoTask, DoResearch)
    withdraw = provide(WithdrawTasks)
    fire = provide(FireSlots)

    @provide
    def schedules(
        self, begin: Begin, slots: SlotStore, fire: FireSlots, alarm: Alarm, background: Background
    ) -> KeepSchedules:
        schedules = KeepSchedules(begin, slots, fire, alarm)
        background.add("schedules", schedules.work)
        return schedules

    @provide
    def handlers(
        self, do: DoTask, do_research: DoResearch, withdraw: WithdrawTasks, background: Background
    ) -> TaskHandlers:
        background.add("withdrawn tasks", every(WITHDRAW_S, withdraw))
        return TaskHandlers({KIND: do, research.KIND: do_research})


class TasksElsewhere(Provider):
    """Tasks where requests are answered and other processes work on runs."""

    scope = Scope.APP

    @provide
    def handlers(self, end: EndTask) -> TaskHandlers:
        return TaskHandlers({KIND: end, research.KIND: end})
