"""How much one worker takes on at once, so that what it takes is answered in time.

A worker serves everybody in rounds: whoever has something ready is served, one after the other, and what becomes ready
meanwhile waits for the next round. The later in a round somebody is served the longer it has waited already, whatever
made the round long, and the answers that are on their way wait for the round's end as well. So a round takes in new
requests for a few milliseconds only. The others stand in a line (`line.py`), heads that nobody has read yet; as soon as
that is more than a burst, those are served who came last, and whoever has waited in vain is turned away.

Turning away is not free: it takes a third of what it takes to pass a request on. It has a share of each round, and
whoever waits to be turned away costs nothing meanwhile. With few requests open it is something else that holds the
worker up, such as a machine that is busy with other things, and nobody waits.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from app.edge.line import LEAST_TAKEN, TAKING_S, Line
from app.infra.observability.metrics import Family, counter, gauge
from app.kernel.waiting import Patience

FEW_REQUESTS = 64
MAX_REQUESTS = 10_000
PATIENCE = Patience(few=64, burst_s=0.25, fresh_s=0.03, longest_s=1.0, brief_s=0.25)
TICK_S = 0.05
_SMOOTHING = 0.2
_FREE_AGAIN = 0.9


@dataclass(slots=True)
class Load:
    """Concurrency: the event loop's thread alone; one per worker. Numbers are for `/metrics`.

    Recovery: the line of a flood that is over is empty in a fraction of a second.
    """

    max_requests: int = MAX_REQUESTS
    few_requests: int = FEW_REQUESTS
    monotonic_s: Callable[[], float] = time.monotonic
    requests_open: int = 0
    """let in, and not finished"""
    is_busy: bool = False
    """False where nobody has to wait or to go: one attribute for whoever is in a hurry"""
    is_full: bool = False
    shed_total: int = 0
    lag_s: float = 0.0
    """smoothed"""
    line: Line = field(init=False)
    _is_round: bool = False
    _round_began_s: float = 0.0
    _taken: int = 0

    def __post_init__(self) -> None:
        self.line = Line(PATIENCE, on_round=self._begin_round, monotonic_s=self.monotonic_s)

    def has_time(self) -> bool:
        """Tell whether one more request may be let in at once, rather than wait for a round to come."""
        if not self.is_busy:
            return True
        if self.line:
            return False
        is_young = self._is_young(TAKING_S)
        self._taken += 1
        return is_young or self._taken <= LEAST_TAKEN

    def is_late(self) -> bool:
        """Tell whether one more is to be turned away, since this round takes too long: for whoever has no line."""
        return self.is_busy and not self._is_young(PATIENCE.burst_s)

    def enter(self) -> None:
        """Count a request in; each is to `leave`."""
        self.requests_open += 1
        if self.requests_open >= self.few_requests:
            self.is_busy = True
        if self.requests_open >= self.max_requests:
            self.is_busy = self.is_full = True

    def leave(self) -> None:
        self.requests_open -= 1
        if self.is_busy:
            self.is_full = self.is_full and self.requests_open >= _FREE_AGAIN * self.max_requests
            self.is_busy = self.is_full or self.requests_open >= self.few_requests

    def families(self) -> Iterable[Family]:
        yield gauge("portico_requests_open", "Requests let in and not finished.", self.requests_open)
        yield gauge("portico_loop_lag_seconds", "How late a timer is, smoothed.", self.lag_s, merge="max")
        yield counter("portico_shed_total", "Requests turned away because of overload.", self.shed_total)

    async def watch(self) -> None:
        """Measure how late the loop is, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + TICK_S
            await asyncio.sleep(TICK_S)
            self.lag_s += _SMOOTHING * (loop.time() - due_s - self.lag_s)

    # --- rounds -------------------------------------------------------------------------------------------------------

    def _is_young(self, age_s: float) -> bool:
        """Tell whether this round has lasted for less; who asks first begins it."""
        now_s = self.monotonic_s()
        if not self._is_round:
            self._begin_round(now_s)
        return now_s - self._round_began_s < age_s

    def _begin_round(self, now_s: float) -> None:
        if not self._is_round:
            asyncio.get_running_loop().call_soon(self._end_round)
        self._is_round = True
        self._round_began_s = now_s
        self._taken = 0

    def _end_round(self) -> None:
        self._is_round = False
