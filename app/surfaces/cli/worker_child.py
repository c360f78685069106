"""A worker as its supervisor sees it: a process, what it reported, and when it is started again.

Standard library only: the supervisor imports this module.
"""

import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from app.kernel.worker import ProcessRole
from app.surfaces.cli.worker_plan import Order, Report

WELL_AFTER_S = 10.0
"""a worker that served this long was well; its next end is a first one"""
_PAUSES_S: Sequence[float] = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_READ_BYTES = 4096


@dataclass(slots=True)
class Child:
    """One start of a worker."""

    process: subprocess.Popen[bytes]
    channel: socket.socket
    serving_since_s: float | None = None
    is_reloading: bool = False
    has_left: bool = False
    can_report: bool = True
    _heard: bytes = b""

    @property
    def is_serving(self) -> bool:
        return self.serving_since_s is not None

    @property
    def accepts(self) -> bool:
        return self.is_serving and not self.has_left

    def order(self, order: Order, *words: object) -> None:
        with suppress(OSError):  # it has ended, or reads no more; the supervisor learns the one and bounds the other
            self.channel.send(f"{' '.join(map(str, (order, *words)))}\n".encode())

    def reports(self) -> Iterator[tuple[Report, str]]:
        """Read what it reported; nothing more comes when it has ended."""
        try:
            piece = self.channel.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except ConnectionError:
            piece = b""
        self.can_report = bool(piece)
        *lines, self._heard = (self._heard + piece).split(b"\n")
        for line in lines:
            word, _, rest = line.decode().partition(" ")
            yield Report(word), rest

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)  # silent when it has ended


@dataclass(slots=True)
class Seat:
    """A worker's place, through all its starts. `start_at_s` is None while a child sits here."""

    index: int
    role: ProcessRole = ProcessRole.WEB
    name: str = ""
    """of the last start"""
    child: Child | None = None
    start_at_s: float | None = None
    _failures: int = 0

    @property
    def is_web(self) -> bool:
        return self.role is ProcessRole.WEB

    def sit(self, child: Child, name: str) -> None:
        self.child, self.name, self.start_at_s = child, name, None

    def postpone(self, now_s: float) -> None:
        """Say when the next start is due, after one that failed."""
        self._failures += 1
        self.start_at_s = now_s + _PAUSES_S[min(self._failures, len(_PAUSES_S) - 1)]

    def vacate(self, now_s: float) -> Child:
        """Take the child that has ended away, and say when the next one is due."""
        child, self.child = self.child, None
        if child is None:
            raise LookupError(f"nobody sits at {self.index}")
        child.channel.close()
        was_well = child.serving_since_s is not None and now_s - child.serving_since_s >= WELL_AFTER_S
        if was_well:
            self._failures = -1
        self.postpone(now_s)
        return child


def start_child(command: Sequence[str], *, fds: Sequence[int], channel: socket.socket) -> Child:
    """Start a worker in a session of its own: Ctrl-C is for its supervisor, which lets it finish."""
    process = subprocess.Popen(  # noqa: S603 - our own interpreter, no shell
        command, stdin=subprocess.DEVNULL, pass_fds=fds, start_new_session=True
    )
    channel.setblocking(False)
    return Child(process, channel)
