"""What the slice adds to the container. It asks others for `Begin`, the engine and the event log."""

from dishka import Provider, Scope, provide, provide_all

from app.agents.contract import Agents
from app.features.runs.domain.delegation import DelegationLimits
from app.features.runs.ports import RunStore
from app.features.runs.repository import PostgresRunStore
from app.features.runs.use_cases.ask_agent import AskAgent
from app.features.runs.use_cases.await_run import AwaitRun
from app.features.runs.use_cases.cancel_run import CancelRun
from app.features.runs.use_cases.follow_run import FollowRun
from app.features.runs.use_cases.list_runs import ListRuns
from app.features.runs.use_cases.post_tool_result import PostToolResult
from app.features.runs.use_cases.read_events import ReadEvents
from app.features.runs.use_cases.read_run import ReadRun
from app.features.runs.use_cases.rerun_run import RerunRun
from app.features.usage.use_cases.meter_run import MeterRun
from app.infra.durable.ports import Engine, RunContext
from app.infra.events.batch import EventBatch
from app.infra.events.ports import EventLog
from app.kernel.audit import AuditTrail
from app.kernel.identity import RoleTable
from app.kernel.transaction import Begin
from app.settings import Settings


class RunsProvider(Provider):
    scope = Scope.APP

    runs = provide(PostgresRunStore, provides=RunStore)
    use_cases = provide_all(ReadRun, ListRuns, ReadEvents, FollowRun, AwaitRun, RerunRun)

    @provide
    def cancel(self, begin: Begin, runs: RunStore, engine: Engine, log: EventLog, audit: AuditTrail) -> CancelRun:
        return CancelRun(begin, runs, engine, log, audit)


class RunsAtWork(Provider):
    """What every kind of run has in common that asks an agent, where runs are worked on."""

    scope = Scope.APP

    @provide
    def ask(
        self,
        begin: Begin,
        runs: RunStore,
        agents: Agents,
        roles: RoleTable,
        meter: MeterRun,
        limits: DelegationLimits,
    ) -> AskAgent:
        return AskAgent(begin, runs, agents, roles, meter, _batch_of, limits=limits)

    @provide
    def limits(self, settings: Settings) -> DelegationLimits:
        return DelegationLimits(settings.delegation_depth, settings.delegation_at_once)


def _batch_of(context: RunContext) -> EventBatch:
    return EventBatch(context.progress)


class RunsAtTheDoor(Provider):
    """What clients do with runs that needs receipts, and so belongs to those that answer requests."""

    scope = Scope.APP

    post_tool_result = provide(PostToolResult)
