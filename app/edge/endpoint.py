"""One address an upstream listens at: its connections, its breaker, and whether it answers the active checks.

It belongs to its upstream and never to a route; everything counted here is per worker process. Which endpoint is asked
is the upstream's choice (`upstreams.py`), when it is left alone the breaker's (`breaker.py`).
"""

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import StrEnum

import structlog

from app.edge.breaker import OVERLOADED, Breaker, BreakerRules, BreakerState
from app.edge.upstream_failures import Phase, PoolExhausted, UpstreamFailure
from app.edge.upstream_pool import UpstreamPool

PROBE_LEASE_S = 10.0
"""after which a probe of which nothing was heard makes room for the next"""
CHECKS_TO_CHANGE = 2
"""active checks in a row that must say the same before it is believed: one may be lost to a moment"""

log = structlog.get_logger()


class EndpointState(StrEnum):
    READY = "ready"
    UNHEALTHY = "unhealthy"
    """failed its active checks"""
    EJECTED = "ejected"
    """its breaker is open, or lets one probe pass"""
    DRAINING = "draining"
    """no longer chosen; what runs there may finish"""


class UpstreamEndpoint(ABC):
    """What `Upstream.pick` hands to a request: a place to ask, which wants to hear what became of it.

    `authority` is what the endpoint is sent as Host; `name` is its address, for the log.
    Concurrency: synchronous, within the event loop it was made in.
    """

    __slots__ = ("authority", "name", "pool")

    def __init__(self, pool: UpstreamPool, authority: bytes) -> None:
        self.name = str(pool.endpoint)
        self.authority = authority
        self.pool = pool

    @abstractmethod
    def note_answer(self, status: int) -> None:
        """Hear that the final head of an answer came."""

    @abstractmethod
    def note_failure(self, failure: UpstreamFailure) -> None:
        """Hear of a failed exchange, once; that no connection came about is one."""

    @abstractmethod
    def note_end(self) -> None:
        """Hear that the exchange is over, whatever became of it; where nobody says so, a probe runs out by itself."""


class Member(UpstreamEndpoint):
    """One of an upstream's endpoints. `on_change` is told when it may be asked again, or no more."""

    __slots__ = (
        "_checks",
        "_on_change",
        "_timer",
        "breaker",
        "has_passed",
        "is_draining",
        "last_check",
        "last_failure",
        "last_failure_at_s",
        "may_yield",
        "probe",
    )

    def __init__(
        self, pool: UpstreamPool, authority: bytes, rules: BreakerRules, on_change: Callable[[], None]
    ) -> None:
        super().__init__(pool, authority)
        self.breaker = Breaker(rules, random.random)
        self.probe: Probe | None = None
        self.has_passed = True
        """by what the active checks say; until they say otherwise, it has"""
        self.may_yield = False
        """whether another endpoint could take this one's share"""
        self.is_draining = False
        self.last_check = ""
        self.last_failure = ""
        self.last_failure_at_s = 0.0
        self._checks = 0
        self._on_change = on_change
        self._timer: asyncio.TimerHandle | None = None

    @property
    def state(self) -> EndpointState:
        if self.is_draining:
            return EndpointState.DRAINING
        if self.breaker.state is not BreakerState.CLOSED:
            return EndpointState.EJECTED
        return EndpointState.READY if self.has_passed else EndpointState.UNHEALTHY

    def note_answer(self, status: int) -> None:
        self.breaker.answers += 1
        if status in OVERLOADED and self.breaker.note_overload(_now_s()) and self.may_yield:
            self.eject(f"it answers {status}")

    def note_failure(self, failure: UpstreamFailure) -> None:
        """A pool that is full is our own limit, and an answer that was cut had come: neither counts."""
        self.remember(failure)
        counts = failure.phase is not Phase.BODY and not isinstance(failure, PoolExhausted)
        if counts and self.breaker.note_failure(_now_s()):
            self.eject(self.last_failure)

    def note_end(self) -> None:
        """Only a probe has an end that says something."""

    def note_check(self, words: str, *, has_passed: bool) -> None:
        """Hear what an active check found."""
        self.last_check = words
        self._checks = 0 if has_passed is self.has_passed else self._checks + 1
        if self._checks < CHECKS_TO_CHANGE:
            return
        self._checks, self.has_passed = 0, has_passed
        say = log.info if has_passed else log.warning
        say("endpoint.checked", endpoint=self.name, has_passed=has_passed, cause=words)
        if has_passed and self.breaker.state is not BreakerState.CLOSED:
            self.readmit()  # what the breaker saw was the same outage
        else:
            self._on_change()

    def begin_probe(self) -> "Probe":
        """Hand out the one request that a half-open endpoint may be asked."""
        self.breaker.state = BreakerState.PROBING
        self.probe = Probe(self)
        self._offer_probe_after(PROBE_LEASE_S)
        self._on_change()
        return self.probe

    def eject(self, cause: str) -> None:
        """Leave it alone for a while."""
        self.probe = None
        pause_s = self.breaker.open(_now_s())
        log.warning("endpoint.ejected", endpoint=self.name, cause=cause, pause_s=round(pause_s, 1))
        self._offer_probe_after(pause_s)
        self._on_change()

    def offer_probe(self) -> None:
        """Let one request find out whether it is back."""
        self._stop_timer()
        self.probe = None
        self.breaker.state = BreakerState.HALF_OPEN
        self._on_change()

    def readmit(self) -> None:
        self._stop_timer()
        self.probe = None
        self.breaker.close(_now_s())
        log.info("endpoint.readmitted", endpoint=self.name)
        self._on_change()

    def remember(self, failure: UpstreamFailure) -> None:
        # the words alone: the failure itself holds the frames of the request
        self.last_failure = f"{type(failure).__name__}: {failure}"
        self.last_failure_at_s = _now_s()

    def retire(self) -> None:
        """Keep no connection any longer than its exchange; nothing that was sent here is lost."""
        self.is_draining = True
        self._stop_timer()
        self.pool.retire()

    async def aclose(self) -> None:
        """Cut every exchange and close every connection."""
        self.is_draining = True
        self._stop_timer()
        await self.pool.aclose()

    def _offer_probe_after(self, seconds: float) -> None:
        self._stop_timer()
        if not self.is_draining:
            self._timer = asyncio.get_running_loop().call_later(seconds, self.offer_probe)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Probe(UpstreamEndpoint):
    """The one request to a half-open endpoint: the same connections, but what becomes of it decides.

    Its client may leave before it found out anything: `note_end` makes room for the next at once, else there is room
    after PROBE_LEASE_S. A probe that has made room is no longer heard.
    """

    __slots__ = ("_of",)

    def __init__(self, of: Member) -> None:
        super().__init__(of.pool, of.authority)
        self._of = of

    def note_answer(self, status: int) -> None:
        if self._of.probe is not self:
            return
        if status in OVERLOADED and self._of.may_yield:
            self._of.eject(f"it answers {status}")
        else:
            self._of.readmit()

    def note_failure(self, failure: UpstreamFailure) -> None:
        self._of.remember(failure)
        if self._of.probe is not self:
            return
        if isinstance(failure, PoolExhausted):
            self._of.offer_probe()
        else:
            self._of.eject(self._of.last_failure)

    def note_end(self) -> None:
        if self._of.probe is self:
            self._of.offer_probe()


def _now_s() -> float:
    return asyncio.get_running_loop().time()
