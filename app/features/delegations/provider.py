"""What the slice adds to the container: what is done with runs that were handed on."""

from collections.abc import Mapping
from typing import NewType

from dishka import Provider, Scope, provide

from app.features.delegations.use_cases.do_delegation import DoDelegation
from app.features.delegations.use_cases.end_delegation import EndDelegation
from app.features.runs.domain.delegation import KIND
from app.infra.durable.ports import Handler

DelegationHandlers = NewType("DelegationHandlers", Mapping[str, Handler])
"""What the slice does with runs."""


class DelegationsAtWork(Provider):
    """Errands where runs are worked on."""

    scope = Scope.APP

    end = provide(EndDelegation)
    do = provide(DoDelegation)

    @provide
    def handlers(self, do: DoDelegation) -> DelegationHandlers:
        return DelegationHandlers({KIND: do})


class DelegationsElsewhere(Provider):
    """Errands where requests are answered and other processes work on runs."""

    scope = Scope.APP

    end = provide(EndDelegation)

    @provide
    def handlers(self, end: EndDelegation) -> DelegationHandlers:
        return DelegationHandlers({KIND: end})
