"""Clients from whom nothing is read for the moment, and whether they are still there.

Back-pressure leaves a client's bytes with the kernel, and its end behind them: a loop that does not read hears of
neither. POLLRDHUP tells without reading (poll(2)); where it is not known, only a connection that broke is noticed.
"""

import asyncio
import select
from collections.abc import Callable
from socket import socket

LOOK_EVERY_S = 0.05
_GONE = getattr(select, "POLLRDHUP", select.POLLHUP)  # errors are told unasked


class PausedClients:
    """Concurrency: of one event loop. Cost: while there is anybody to watch, one system call every LOOK_EVERY_S."""

    __slots__ = ("_on_gone", "_poll", "_timer")

    def __init__(self) -> None:
        self._poll = select.poll()
        self._on_gone: dict[int, Callable[[], None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, stream: socket, on_gone: Callable[[], None]) -> int:
        """Call `on_gone`, once, when the client has left; give back what `forget` must be called with in time."""
        number = stream.fileno()
        self._poll.register(number, _GONE)
        self._on_gone[number] = on_gone
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK_EVERY_S, self._look)
        return number

    def forget(self, number: int) -> None:
        """Watch no more: it is read again, or about to be closed, and its number somebody else's."""
        if self._on_gone.pop(number, None) is not None:
            self._poll.unregister(number)

    def _look(self) -> None:
        self._timer = None
        for number, _ in self._poll.poll(0):
            on_gone = self._on_gone[number]
            self.forget(number)
            on_gone()
        if self._on_gone:
            self._timer = asyncio.get_running_loop().call_later(LOOK_EVERY_S, self._look)
