"""Stands between a worker and a program it started, so that the program ends with the worker, however that ends.

Run as `python -I -S guard.py DESCRIPTOR COMMAND...`. The descriptor is the reading end of a pipe whose other end only
the worker has: when it closes, the worker is gone, or done with the program, and the whole group of the program's
processes is ended. When the guard itself is killed, Linux kills the program (PR_SET_PDEATHSIG).
Rule: the standard library only, and little of it: there is one of these for each program.
"""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress

GRACE_S = 1.0
PR_SET_PDEATHSIG = 1
CANNOT_START = 127


def main(lifeline: int, command: list[str]) -> int:
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    try:
        child = subprocess.Popen(command, start_new_session=True, preexec_fn=_end_with_us())  # noqa: PLW1509, S603
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        return CANNOT_START
    _let_go_of_its_streams()
    while child.poll() is None:
        ready, _, _ = select.select([lifeline, woken], [], [])
        if woken in ready:
            os.read(woken, 512)
        if lifeline in ready:
            _end(child)
    _signal_group(child, signal.SIGKILL)  # whom it left behind
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _end(child: "subprocess.Popen[bytes]") -> None:
    _signal_group(child, signal.SIGTERM)
    until = time.monotonic() + GRACE_S
    while child.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    if child.poll() is None:
        _signal_group(child, signal.SIGKILL)
        child.wait()


def _signal_group(child: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)


def _let_go_of_its_streams() -> None:
    """Hold no end of the program's pipes, so that who reads them learns when it is gone."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)


def _end_with_us() -> Callable[[], object] | None:
    """Give what the program does before it begins: ask the kernel to be killed with us, where the kernel can."""
    if sys.platform != "linux":
        return None
    import ctypes  # noqa: PLC0415 - Linux alone needs it

    prctl = ctypes.CDLL(None, use_errno=True).prctl
    return lambda: prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
