"""Clients that have ended an idle connection: closed a few in each turn of the loop.

Thousands may leave in one moment, when whoever held them goes; to close them takes the loop a while, and nobody who has
a request is to wait for it.
"""

import asyncio
from collections import deque
from collections.abc import Callable

CLOSED_A_TURN = 32


class Leavers:
    """Concurrency: of one event loop."""

    __slots__ = ("_closing", "_is_at_work")

    def __init__(self) -> None:
        self._closing: deque[Callable[[], None]] = deque()
        self._is_at_work = False

    def add(self, close: Callable[[], None]) -> None:
        """Close in a turn to come, after those who were there before."""
        self._closing.append(close)
        if not self._is_at_work:
            self._is_at_work = True
            asyncio.get_running_loop().call_soon(self._some)

    def _some(self) -> None:
        for _ in range(min(CLOSED_A_TURN, len(self._closing))):
            self._closing.popleft()()
        self._is_at_work = bool(self._closing)
        if self._is_at_work:
            asyncio.get_running_loop().call_soon(self._some)
