"""The deadlines of a client's connection: two instants, and one timer that is moved only when it would come too late.

A request that runs well costs two assignments; the sockets of ten thousand idle clients cost one timer each.
"""

import asyncio
from collections.abc import Callable
from enum import Enum, auto
from math import inf

_TIMER_SLACK_S = 0.002
"""uvloop's clock ticks in milliseconds, so that a timer may come that much early."""


class Late(Enum):
    """What did not happen in time."""

    HEAD = auto()
    """the first byte of a new connection, or the rest of a head"""
    IDLE = auto()
    """another request on a connection that is kept alive"""
    BODY = auto()
    """more of the request's body: asked again after each interval"""
    FAREWELL = auto()
    """the client's own end, after ours"""
    WRITE = auto()
    """the client taking what waits for it: asked again after each interval"""


def _nobody(late: Late) -> None:
    del late


class ClientClock:
    """Call `on_late` when the one thing that is read for, or the one that is written, did not happen in time."""

    __slots__ = ("_at", "_loop", "_on_late", "_reading", "_reading_at", "_timer", "_writing_at")

    def __init__(self, loop: asyncio.AbstractEventLoop, on_late: Callable[[Late], None]) -> None:
        self._loop = loop
        self._on_late = on_late
        self._reading = Late.HEAD
        self._reading_at = self._writing_at = self._at = inf
        self._timer: asyncio.TimerHandle | None = None

    def expect(self, what: Late, within_s: float) -> None:
        """Wait for something to read, instead of what was waited for."""
        self._reading = what
        self._reading_at = at = self._loop.time() + within_s
        if at < self._at:
            self._move(at)

    def expect_nothing(self) -> None:
        self._reading_at = inf

    def expect_room(self, within_s: float) -> None:
        self._writing_at = at = self._loop.time() + within_s
        if at < self._at:
            self._move(at)

    def expect_no_room(self) -> None:
        self._writing_at = inf

    def end(self) -> None:
        """Call nobody any more, nor refer to whoever was called."""
        self._reading_at = self._writing_at = inf
        self._move(inf)
        self._on_late = _nobody

    def _move(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._at = at
        self._timer = self._loop.call_at(at, self._look) if at < inf else None

    def _look(self) -> None:
        self._timer, self._at = None, inf
        now = self._loop.time() + _TIMER_SLACK_S
        if self._reading_at <= now:
            self._reading_at = inf
            self._on_late(self._reading)
        if self._writing_at <= now:
            self._writing_at = inf
            self._on_late(Late.WRITE)
        at = min(self._reading_at, self._writing_at)
        if at < self._at:
            self._move(at)
