"""How busy this worker is, and which share of new requests it turns away so that those it takes are served in time.

The signal is the event loop's lag: how much later than asked for a timer runs. It is the one queue every request of a
single-threaded proxy stands in, whoever made it long: what is ready is worked off in rounds, and a timer waits for the
round's end. Two ticks in a row above the limit are a queue (CoDel's idea: a single long round is none, it is over when
it is seen). Then a share is turned away, more with every late tick, and less, ever faster, with every tick in time: all
or nothing would swing between idle and late.

Turning away helps only against many at once. With few requests open it is something else that holds the loop up, such
as a machine that is busy with other things, and nobody is turned away.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from app.infra.observability.metrics import Family, counter, gauge

TICK_S = 0.05
LAG_LIMIT_S = 0.1
FEW_REQUESTS = 32
MAX_REQUESTS = 10_000
MOST = 0.98
"""Some are let in whatever happens, so that it is noticed when it is over."""
_LATE_TICKS = 2
_STEP_UP = 0.2
_STEP_DOWN = 0.02
_SMOOTHING = 0.2
_FREE_AGAIN = 0.9


@dataclass(slots=True)
class Load:
    """Concurrency: the event loop's thread alone; one per worker. Numbers are for `/metrics`.

    `is_overloaded` is False where nothing is to be turned away: one attribute for whoever is in a hurry.
    Recovery: from the largest share to none in ten ticks, half a second.
    """

    max_requests: int = MAX_REQUESTS
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
    _good_ticks: int = 0

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
        if lag_s > LAG_LIMIT_S:
            self._late_ticks += 1
            self._good_ticks = 0
            if self._late_ticks >= _LATE_TICKS:
                step = min(0.5, _STEP_UP * lag_s / LAG_LIMIT_S)
                self.shed_share = min(MOST, self.shed_share + step * (1 - self.shed_share))
        else:
            self._late_ticks = 0
            self._good_ticks += 1
            self.shed_share = max(0.0, self.shed_share - _STEP_DOWN * self._good_ticks)
        if self._is_full and self.requests_open < _FREE_AGAIN * self.max_requests:
            self._is_full = False
        self.is_overloaded = self._is_full or self.shed_share > 0
