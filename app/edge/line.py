"""A line of requests that nobody has read yet: served as there is room, told when there is none.

Nobody waits here as long as there is room; whether there is, is asked by who comes (`load.py`, `upstreams.py`).
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from app.kernel.waiting import Patience, Waiting

TAKING_S = 0.0025
"""of a round of the loop, for those who are let in"""
LEAST_TAKEN = 16
"""in each round, however long they take: who knows what the machine did meanwhile"""
REFUSING_SHARE = 0.15
"""of the time since the last round, for those who are turned away"""
MOST_REFUSING_S = 0.01
LEAST_REFUSED = 4
PAUSE_S = 0.002
"""after a round in which nothing could be done"""


class Newcomer(Protocol):
    """A client's connection with a request on it."""

    waits: bool
    """in a line; False once it has left"""

    def be_served(self) -> None: ...
    def be_turned_away(self) -> None: ...


def _always() -> bool:
    return True


def _unheard(now_s: float) -> None:
    del now_s


@dataclass(slots=True)
class Line:
    """Concurrency: the event loop's thread alone. Cost: a round of the loop takes a bounded time longer."""

    patience: Patience
    has_room: Callable[[], bool] = _always
    on_round: Callable[[float], None] = _unheard
    """hears when it begins to work in a round"""
    monotonic_s: Callable[[], float] = time.monotonic
    _waiting: Waiting[Newcomer] = field(init=False)
    _began_s: float = 0.0
    """to work, the last time"""

    def __post_init__(self) -> None:
        self._waiting = Waiting(self.patience)

    def __len__(self) -> int:
        return len(self._waiting)

    def wait(self, newcomer: Newcomer) -> None:
        """Let somebody wait to be served or turned away in a round to come."""
        newcomer.waits = True
        now_s = self.monotonic_s()
        if not self._waiting:
            self._began_s = now_s
            asyncio.get_running_loop().call_soon(self._work_off)
        self._waiting.add(newcomer, now_s)

    def _work_off(self) -> None:
        """Serve some of those who wait, and tell some who wait in vain; the rest is for another round."""
        began_s = self.monotonic_s()
        refusing_s = min(REFUSING_SHARE * (began_s - self._began_s), MOST_REFUSING_S)
        self._began_s = began_s
        self.on_round(began_s)
        before = len(self._waiting)
        now_s = self._serve(began_s, began_s + TAKING_S)
        spare_until_s = began_s + TAKING_S if self.has_room() else 0.0
        self._refuse(now_s, spare_until_s, now_s + refusing_s)
        if not self._waiting:
            return
        if len(self._waiting) < before:
            asyncio.get_running_loop().call_soon(self._work_off)
        else:
            asyncio.get_running_loop().call_later(PAUSE_S, self._work_off)

    def _serve(self, now_s: float, end_s: float) -> float:
        served = 0
        while (now_s < end_s or served < LEAST_TAKEN) and self.has_room():
            newcomer = self._waiting.next(now_s)
            if newcomer is None:
                break
            if newcomer.waits:
                newcomer.waits = False
                newcomer.be_served()
                served += 1
            now_s = self.monotonic_s()
        return now_s

    def _refuse(self, now_s: float, spare_until_s: float, end_s: float) -> None:
        """Until `spare_until_s` nobody else could have been served; in any case there is a little time for this."""
        end_s, refused = max(end_s, spare_until_s), 0
        while now_s < end_s or refused < LEAST_REFUSED:
            newcomer = self._waiting.next_in_vain(now_s, is_idle=now_s < spare_until_s)
            if newcomer is None:
                return
            if newcomer.waits:
                newcomer.waits = False
                newcomer.be_turned_away()
                refused += 1
            now_s = self.monotonic_s()
