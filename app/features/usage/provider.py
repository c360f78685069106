"""What the slice adds to the container. It asks others for `Settings`, `Begin`, `Clock` and `Background`."""

from datetime import timedelta

from dishka import Provider, Scope, provide, provide_all

from app.features.usage.domain.budget import Budgets, Limit, Limits
from app.features.usage.ports import Ledger, UsageStore
from app.features.usage.repository.ledger import PostgresLedger
from app.features.usage.repository.usage import PostgresUsageStore
from app.features.usage.use_cases.close_run import CloseRun
from app.features.usage.use_cases.forget_usage import ForgetUsage
from app.features.usage.use_cases.list_usage import ListUsage
from app.features.usage.use_cases.meter_run import MeterRun
from app.infra.observability.background import Background, every
from app.kernel.clock import Clock
from app.kernel.transaction import Begin, Look
from app.kernel.widgets import owner_of
from app.setting_types import Limits as Written
from app.settings import Settings

SWEEP_S = 600
FORGET_S = 3600


class UsageProvider(Provider):
    """Ledger and store by port, so that a provider given after this one replaces them."""

    scope = Scope.APP

    use_cases = provide_all(CloseRun, ListUsage)

    @provide
    def ledger(self, begin: Begin, look: Look, background: Background) -> Ledger:
        ledger = PostgresLedger(begin, look)
        background.add("budgets", every(SWEEP_S, ledger.sweep))
        return ledger

    @provide
    def usage(self, begin: Begin, background: Background, clock: Clock, settings: Settings) -> UsageStore:
        store = PostgresUsageStore(begin)
        keep = timedelta(days=settings.usage_retention_days)
        background.add("old usage", every(FORGET_S, ForgetUsage(store, clock, keep)))
        return store

    @provide
    def meter(self, ledger: Ledger, clock: Clock, settings: Settings) -> MeterRun:
        budgets = Budgets(
            run=_limits(settings.budget_run),
            chat=_limits(settings.budget_chat),
            user=_limits(settings.budget_user),
            day=_limits(settings.budget_day),
            agents={agent: _limits(written) for agent, written in settings.budget_agents.items()},
            users={owner_of(row.name): _limits(row.budget) for row in settings.gateway.widgets},
        )
        return MeterRun(ledger, budgets, clock)


def _limits(written: Written) -> Limits:
    return {Limit(name): most for name, most in written.items()}
