"""What the slice adds to the container. It asks others for `Begin`, `Engine` and `EventLog`."""

from dishka import Provider, Scope, provide, provide_all

from app.features.runs.ports import RunStore
from app.features.runs.repository import PostgresRunStore
from app.features.runs.use_cases.cancel_run import CancelRun
from app.features.runs.use_cases.follow_run import FollowRun
from app.features.runs.use_cases.read_events import ReadEvents
from app.features.runs.use_cases.read_run import ReadRun
from app.features.runs.use_cases.rerun_run import RerunRun
from app.infra.durable.ports import Engine
from app.infra.events.ports import EventLog
from app.kernel.audit import AuditTrail
from app.kernel.transaction import Begin


class RunsProvider(Provider):
    scope = Scope.APP

    runs = provide(PostgresRunStore, provides=RunStore)
    use_cases = provide_all(ReadRun, ReadEvents, FollowRun, RerunRun)

    @provide
    def cancel(self, begin: Begin, runs: RunStore, engine: Engine, log: EventLog, audit: AuditTrail) -> CancelRun:
        return CancelRun(begin, runs, engine, log, audit)
