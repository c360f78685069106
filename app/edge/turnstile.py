"""Where local requests begin: one in each round of the event loop.

An endpoint of ours takes as long as dozens of requests that are passed on, in steps between which it waits for the
database. Were all that have arrived begun at once, each step of one would wait for a step of every other: all would be
late, and so would be whatever else the loop has to do. One beginning in each round keeps the loop as busy, and those
that have begun are finished first. Who waits longer than is worth it is turned away before anything was done for it.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from app.edge.line import Newcomer
from app.kernel.waiting import Patience, Waiting

PATIENCE = Patience(few=64, burst_s=0.5, fresh_s=0.03, longest_s=1.0)
REFUSED_A_ROUND = 4


@dataclass(slots=True)
class Turnstile:
    """Concurrency: the event loop's thread alone; one per worker.

    Those who wait are connections whose request was not read yet, or requests that were let in: a head that is not
    known has to be read to know that it is for us.
    """

    monotonic_s: Callable[[], float] = time.monotonic
    _waiting: Waiting[Newcomer] = field(default_factory=lambda: Waiting(PATIENCE))
    _is_used: bool = False
    """in this round"""
    _is_open: bool = False
    """for the one whose turn it is"""

    def enter(self, comer: Newcomer) -> None:
        """Serve somebody, now or in a round to come, or turn it away."""
        if self.has_room():
            self._is_open = False
            self._let_in(comer)
        else:
            self.wait(comer)

    def has_room(self) -> bool:
        """Tell whether somebody would be served at once."""
        return self._is_open or not self._is_used

    def wait(self, comer: Newcomer) -> None:
        comer.waits = True
        self._waiting.add(comer, self.monotonic_s())
        if not self._is_used:
            self._use()

    def __len__(self) -> int:
        return len(self._waiting)

    def _let_in(self, comer: Newcomer) -> None:
        if not self._is_used:
            self._use()
        comer.be_served()

    def _use(self) -> None:
        self._is_used = True
        asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        self._is_used = False
        now_s = self.monotonic_s()
        self._turn_away(now_s, is_idle=False)
        while (comer := self._waiting.next(now_s)) is not None:
            if comer.waits:
                comer.waits = False
                self._is_open = True
                self._let_in(comer)
                self._is_open = False
                return
        self._turn_away(now_s, is_idle=True)
        if self._waiting:
            self._use()

    def _turn_away(self, now_s: float, *, is_idle: bool) -> None:
        for _ in range(REFUSED_A_ROUND):
            comer = self._waiting.next_in_vain(now_s, is_idle=is_idle)
            if comer is None:
                return
            if comer.waits:
                comer.waits = False
                comer.be_turned_away()
