"""The postmaster as the watcher's child: start it over whatever an earlier one left behind, and stop it.

Standard library only: the watcher imports this module.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from app.infra.db.embedded.home import Home
from app.infra.db.embedded.leftovers import end_leftovers
from app.kernel.shared_use import LockBusy, take

_PR_SET_PDEATHSIG = 1
# Fast shutdown, immediate shutdown (recovered at the next start), the end; each with the time it is given.
_WAYS_TO_STOP = ((signal.SIGINT, 10.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))


@dataclass(frozen=True, slots=True)
class Plan:
    """What the watcher is told, as text, by the program that starts it."""

    home: str
    cluster: str
    command: list[str]
    environment: dict[str, str]
    uid: int
    gid: int
    is_dropped_to: bool

    def to_text(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Self:
        return cls(**json.loads(text))


class Postmaster:
    """Concurrency: `start` and `stop` from the watcher's main thread, `wait` from any one thread per start."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._home = Home(Path(plan.home))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> subprocess.Popen[bytes]:
        """Start a postmaster, alone on its files: all of an earlier server's processes have ended.

        It and its children share `server_lock` by inheritance, across namespaces and however they are named; that lock
        decides, never a process id. Errors: LockBusy, OSError.
        """
        lock = self._claim()
        try:
            self._home.socket.with_name(self._home.socket.name + ".lock").unlink(missing_ok=True)
            self._process = subprocess.Popen(  # noqa: S603 - our own binaries, no shell
                self._plan.command,
                stdin=subprocess.DEVNULL,
                cwd="/",
                env=self._plan.environment | self._stale_process_id(),
                start_new_session=True,
                pass_fds=(lock,),
                user=self._plan.uid if self._plan.is_dropped_to else None,
                group=self._plan.gid if self._plan.is_dropped_to else None,
                extra_groups=[] if self._plan.is_dropped_to else None,
                umask=0o077,
                preexec_fn=_ending_with_parent(),  # noqa: PLW1509 - forked by the main thread, while no other holds a lock
            )
        finally:
            os.close(lock)
        return self._process

    def stop(self) -> None:
        if self._process is None:
            return
        for way, patience_s in _WAYS_TO_STOP:
            self._process.send_signal(way)
            try:
                self._process.wait(patience_s)
            except subprocess.TimeoutExpired:
                continue
            return

    def _claim(self) -> int:
        try:
            return take(self._home.server_lock, timeout_s=0)
        except LockBusy:
            return end_leftovers(self._home, Path(self._plan.cluster), uid=self._plan.uid)

    def _stale_process_id(self) -> dict[str, str]:
        """Make the postmaster disregard the process id in its pid file, which may be another program's by now.

        The file itself stays, because the shared memory block it names still guards against a server that was started
        by other means. PG_GRANDPARENT_PID is what pg_ctl would set; `pg_ctl start` would overwrite ours.
        """
        try:
            first_line = (Path(self._plan.cluster) / "postmaster.pid").read_text().partition("\n")[0]
        except OSError:
            return {}
        return {"PG_GRANDPARENT_PID": first_line.strip()} if first_line.strip().isdigit() else {}


def _ending_with_parent() -> Callable[[], None] | None:
    """Have the kernel stop the postmaster when the watcher is killed, so that it is never left alone. Linux only."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    watcher = os.getpid()

    def ask_kernel() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGINT))
        if os.getppid() != watcher:  # it ended before the kernel knew
            os._exit(1)

    return ask_kernel
