"""What the slice adds to the container. It asks others for `Settings`, `Begin`, the clock and the engine."""

from collections.abc import Mapping
from datetime import timedelta
from typing import NewType

from dishka import Provider, Scope, provide

from app.features.widgets.domain import KIND, Widget
from app.features.widgets.ports import WidgetSessions
from app.features.widgets.repository import PostgresWidgetSessions
from app.features.widgets.use_cases.answer_visitor import AnswerVisitor, EndVisit
from app.features.widgets.use_cases.ask_widget import AskWidget
from app.infra.durable.ports import Engine, Handler, RunQueue
from app.kernel.clock import Clock
from app.kernel.transaction import Begin
from app.settings import Settings

WidgetHandlers = NewType("WidgetHandlers", Mapping[str, Handler])
"""What the slice does with runs."""


class WidgetStores(Provider):
    """The store by its port, so that a provider given after this one replaces it."""

    scope = Scope.APP

    sessions = provide(PostgresWidgetSessions, provides=WidgetSessions)
    end = provide(EndVisit)


class WidgetsProvider(Provider):
    """What is done for requests."""

    scope = Scope.APP

    @provide
    def ask(
        self,
        settings: Settings,
        begin: Begin,
        sessions: WidgetSessions,
        queue: RunQueue,
        engine: Engine,
        clock: Clock,
    ) -> AskWidget:
        rows = settings.gateway.widgets
        widgets = {row.name: Widget(row.name, row.agent, timedelta(seconds=row.session_life_s)) for row in rows}
        return AskWidget(widgets, begin, sessions, queue, engine, clock)


class WidgetsAtWork(Provider):
    """Widgets where runs are worked on."""

    scope = Scope.APP

    answer = provide(AnswerVisitor)

    @provide
    def handlers(self, answer: AnswerVisitor) -> WidgetHandlers:
        return WidgetHandlers({KIND: answer})


class WidgetsElsewhere(Provider):
    """Widgets where requests are answered and other processes work on runs."""

    scope = Scope.APP

    @provide
    def handlers(self, end: EndVisit) -> WidgetHandlers:
        return WidgetHandlers({KIND: end})
