"""Accepts from a listening socket, a few connections in each turn of the loop.

Facts:
- uvloop's own servers accept for as long as somebody waits: who opens ten thousand connections at once has them all
  made in one turn, and whoever else wants something waits for its end.
- What is not accepted yet waits with the kernel, in order, and the loop hears of it again in its next turn.
- Where this process may open no more files, a listening socket stays readable, and a loop that tries again at once is
  busy with nothing else.
"""

import asyncio
import socket
from collections.abc import Callable
from errno import EMFILE, ENFILE, ENOBUFS, ENOMEM

import structlog

ACCEPTED_A_TURN = 64
PAUSE_S = 0.1
"""where the files are all in use: some are closed meanwhile"""
_NO_ROOM = frozenset({EMFILE, ENFILE, ENOBUFS, ENOMEM})

log = structlog.get_logger()


class Acceptor:
    """Begins when it is made. Concurrency: one loop; the socket may be shared with other processes.

    `enter` is given what was accepted, which does not block, and the client's address.
    """

    def __init__(self, listening: socket.socket, enter: Callable[[socket.socket, object], None]) -> None:
        self._listening = listening
        self._enter = enter
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None
        self._is_closed = False
        listening.setblocking(False)
        self._begin()

    def close(self) -> None:
        """Accept nobody any more; the socket is its owner's to close, and must be open until now."""
        if not self._is_closed:
            self._is_closed = True
            self._stop()

    def _begin(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listening.fileno(), self._accept)

    def _stop(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
        else:
            self._loop.remove_reader(self._listening.fileno())

    def _accept(self) -> None:
        for _ in range(ACCEPTED_A_TURN):
            try:
                accepted, address = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return  # another process was faster, or the client has left: the loop calls again if somebody waits
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                log.warning("connections.not_accepted", reason=error.strerror, again_in_s=PAUSE_S)
                self._stop()
                self._pause = self._loop.call_later(PAUSE_S, self._begin)
                return
            accepted.setblocking(False)
            self._enter(accepted, address)
