"""What the slice adds to the container. It asks others for `Begin`, agents, the engine and receipts."""

from collections.abc import Mapping
from typing import NewType

from dishka import Provider, Scope, provide

from app.features.completions.domain import KIND
from app.features.completions.use_cases.begin_completion import BeginCompletion
from app.features.completions.use_cases.do_completion import DoCompletion, EndCompletion
from app.infra.durable.ports import Handler

CompletionHandlers = NewType("CompletionHandlers", Mapping[str, Handler])
"""What the slice does with runs."""


class CompletionsProvider(Provider):
    """What is done for requests."""

    scope = Scope.APP

    begin = provide(BeginCompletion)


class CompletionsAtWork(Provider):
    """Completions where runs are worked on."""

    scope = Scope.APP

    end = provide(EndCompletion)
    do = provide(DoCompletion)

    @provide
    def handlers(self, do: DoCompletion) -> CompletionHandlers:
        return CompletionHandlers({KIND: do})


class CompletionsElsewhere(Provider):
    """Completions where requests are answered and other processes work on runs."""

    scope = Scope.APP

    end = provide(EndCompletion)

    @provide
    def handlers(self, end: EndCompletion) -> CompletionHandlers:
        return CompletionHandlers({KIND: end})
