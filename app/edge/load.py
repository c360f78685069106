"""How busy this worker is, and which share of new requests it turns away so that those it takes are served in time.

The signal is the event loop's lag: how much later than asked for a timer runs. It is the one queue every request of a
single-threaded proxy stands in, whoever made it long: what is ready is worked off in rounds, and a timer waits for the
round's end. Three ticks in a row above the limit are a queue (CoDel's idea: a single long round is none, it is over
when it is seen). Then a share is turned away, more with every late tick, less with every early one, and the same in
between, always in proportion to what is let in: all or nothing would swing between idle and late.

Turning away helps only against many at once. With few requests open it is something else that holds the loop up, such
as a machine that is busy with other things, and nobody is turned away. And it is not free: reading a request and
writing a refusal takes half as long as passing one on to an upstream, and a fraction of what one of our own endpoints
takes. Clients that come back at once would keep the worker busy with nothing else, so refusals get half of its time at
most. For the same reason the limit is not lower: a thousand connections with a request each make a round of a tenth of
a second.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from app.infra.observability.metrics import Family, counter, gauge

TICK_S = 0.05
LAG_LIMIT_S = 0.2
FEW_REQUESTS = 32
MAX_REQUESTS = 10_000
MOST = 0.98
"""Some are let in whatever happens, so that it is noticed when it is over."""
REFUSAL_S = 40e-6
MOST_TIME = 0.5
_LATE_TICKS = 3
_STEP_UP = 0.4
_MOST_UP = 0.7
_EASING = 1.15
_EARLY = 0.5
"""of the limit; found, as the steps are, on a model of a queue with two and ten times its load"""
_NONE = 0.02
_SMOOTHING = 0.2
_FREE_AGAIN = 0.9


@dataclass(slots=True)
class Load:
    """Concurrency: the event loop's thread alone; one per worker. Numbers are for `/metrics`.

    `is_overloaded` is False where nothing is to be turned away: one attribute for whoever is in a hurry.
    Recovery: from the largest share to none in less than thirty ticks, a second and a half.
    """

    max_requests: int = MAX_REQUESTS
    refusal_s: float = REFUSAL_S
    is_overloaded: bool = False
    requests_open: int = 0
    """let in, and not finished"""
    lag_s: float = 0.0
    """smoothed"""
    shed_share: float = 0.0
    shed_total: int = 0
    _is_full: bool = False
    _owed: float = 0.0
    _late_ticks: int = 0
    _shed_before: int = 0

    def sheds(self) -> bool:
        """Decide on one more request: whether it is to be turned away. Evenly, not by chance."""
        if not self._is_full:
            if self.requests_open < FEW_REQUESTS:
                return False
            self._owed += self.shed_share
            if self._owed < 1:
                return False
            self._owed -= 1
        self.shed_total += 1
        return True

    def enter(self) -> None:
        """Count a request in; each is to `leave`."""
        self.requests_open += 1
        if self.requests_open >= self.max_requests:
            self._is_full = self.is_overloaded = True

    def leave(self) -> None:
        self.requests_open -= 1

    def families(self) -> Iterable[Family]:
        yield gauge("portico_requests_open", "Requests let in and not finished.", self.requests_open)
        yield gauge("portico_loop_lag_seconds", "How late a timer is, smoothed.", self.lag_s, merge="max")
        yield gauge("portico_shed_share", "Share of requests turned away now.", self.shed_share, merge="max")
        yield counter("portico_shed_total", "Requests turned away because of overload.", self.shed_total)

    async def watch(self) -> None:
        """Tick, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + TICK_S
            await asyncio.sleep(TICK_S)
            self.tick(loop.time() - due_s)

    def tick(self, lag_s: float) -> None:
        """Hear how late a timer was, and adapt."""
        self.lag_s += _SMOOTHING * (lag_s - self.lag_s)
        spent = (self.shed_total - self._shed_before) * self.refusal_s / (TICK_S + max(0.0, lag_s))
        self._shed_before = self.shed_total
        if spent > MOST_TIME:
            self.shed_share *= MOST_TIME / spent
        elif lag_s > LAG_LIMIT_S:
            self._note_late(lag_s)
        else:
            self._late_ticks = 0
            if lag_s < _EARLY * LAG_LIMIT_S:
                share = 1 - _EASING * (1 - self.shed_share)
                self.shed_share = share if share > _NONE else 0.0
        if self._is_full and self.requests_open < _FREE_AGAIN * self.max_requests:
            self._is_full = False
        self.is_overloaded = self._is_full or self.shed_share > 0

    def _note_late(self, lag_s: float) -> None:
        self._late_ticks += 1
        if self._late_ticks >= _LATE_TICKS or self.shed_share:
            step = min(_MOST_UP, _STEP_UP * lag_s / LAG_LIMIT_S)
            self.shed_share = min(MOST, self.shed_share + step * (1 - self.shed_share))
