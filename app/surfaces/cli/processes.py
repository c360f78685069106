"""Processes and signals: those to wait for, beside sockets, with nothing run inside a handler; parents, and orphans.

Standard library only: the supervisor imports this module.
"""

import ctypes
import os
import select
import signal
import socket
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Self

EXIT_ORPHANED = 1
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_READ_BYTES = 4096


class Signals:
    """Takes the signals over for a block. One that is ignored, as `nohup` asks for SIGHUP, stays so."""

    def __init__(self, numbers: Sequence[signal.Signals]) -> None:
        self._numbers = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]

    def __enter__(self) -> Self:
        self._told, self._tells = socket.socketpair()
        self._told.setblocking(False)
        self._tells.setblocking(False)
        self._fd_before = signal.set_wakeup_fd(self._tells.fileno(), warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, _note) for number in self._numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._fd_before)
        self._told.close()
        self._tells.close()

    def wait(self, sockets: Sequence[socket.socket], timeout_s: float | None) -> list[signal.Signals]:
        """Return when a signal came, when a socket is readable, or in time; tell the signals, in their order."""
        poll = select.poll()
        for one in (self._told, *sockets):
            poll.register(one, select.POLLIN)
        poll.poll(None if timeout_s is None else max(0, timeout_s) * 1000)
        try:
            return [signal.Signals(number) for number in self._told.recv(_READ_BYTES)]
        except BlockingIOError:
            return []


def _note(number: int, frame: FrameType | None) -> None:
    """Do nothing: the number is in the wakeup socket already."""
    del number, frame


def reap_strangers(ours: set[int]) -> None:
    """As the first process of a container, bury whoever was left to us; elsewhere somebody else does."""
    if os.getpid() != 1:
        return
    try:
        while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and ended.si_pid not in ours:
            os.waitpid(ended.si_pid, os.WNOHANG)
    except ChildProcessError:
        return


def end_with_parent(parent_pid: int) -> None:
    """Have the kernel (of Linux) kill this process when the one that started it ends, also while it hangs."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent_pid:  # it ended before the kernel knew
        os._exit(EXIT_ORPHANED)


def has_terminal() -> bool:
    """Tell whether a terminal controls this process, and is still there."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
