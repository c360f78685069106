"""The watcher: one small process beside each running server, its parent, which outlives any user of it.

It keeps the postmaster up while somebody uses it and stops it when nobody does. It blocks in the kernel for both and
costs nothing in between. Started by path of import with `python -I -S`, it loads the standard library and three small
modules of ours; importing anything else here is a mistake.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from enum import Enum, auto
from pathlib import Path
from queue import Empty, SimpleQueue

from app.infra.db.embedded.home import Home
from app.infra.db.embedded.server import Plan, Postmaster
from app.kernel.shared_use import LockBusy, take, wait_until_unused

ON_WATCH = "[watcher] on watch"
GAVE_UP = "[watcher] gave up"
_OWN_TIMEOUT_S = 1.0
# A server that lived this long was well; its next end is a first one.
_WELL_AFTER_S = 5.0
_PAUSES_S = (0.05, 0.1, 0.2, 0.4, 0.8)


class Happening(Enum):
    UNUSED = auto()
    SERVER_ENDED = auto()


def main(plan_text: str) -> None:
    """Own the watch, let the starter go, and stay until the server is not needed or cannot be kept up.

    The lock is taken before the fork and inherited, so when the starter's child has ended the watch is owned.
    """
    plan = Plan.from_text(plan_text)
    try:
        watch_lock = take(Home(Path(plan.home)).watch_lock, timeout_s=_OWN_TIMEOUT_S)
    except LockBusy:  # a program that was killed while it started a watcher had got that far
        return
    if os.fork():
        os._exit(0)
    signal.signal(signal.SIGTERM, _leave)
    _note(ON_WATCH)
    server = Postmaster(plan)
    try:
        _keep_up(server, _happenings(Home(Path(plan.home))))
    except (OSError, subprocess.SubprocessError) as error:  # LockBusy is an OSError
        _note(f"{GAVE_UP}: {error}")
    finally:
        server.stop()
        # Before users_lock, which ends with the process: who gets a share must not find this watch still owned.
        os.close(watch_lock)


def _keep_up(server: Postmaster, happenings: SimpleQueue[Happening]) -> None:
    failures = 0
    while True:
        started = time.monotonic()
        process = server.start()
        threading.Thread(target=_report_end, args=(process, happenings), daemon=True).start()
        if happenings.get() is Happening.UNUSED:
            _note("[watcher] nobody uses the server any more: stopping it")
            return
        failures = 0 if time.monotonic() - started > _WELL_AFTER_S else failures + 1
        _note(f"[watcher] the server ended ({process.returncode}) while in use")
        if failures > len(_PAUSES_S):
            _note(f"{GAVE_UP} after {failures} starts")
            return
        try:
            happenings.get(timeout=_PAUSES_S[failures - 1] if failures else 0)
        except Empty:
            continue
        return


def _happenings(home: Home) -> SimpleQueue[Happening]:
    happenings: SimpleQueue[Happening] = SimpleQueue()
    threading.Thread(target=_report_disuse, args=(home, happenings), daemon=True).start()
    return happenings


def _report_disuse(home: Home, happenings: SimpleQueue[Happening]) -> None:
    wait_until_unused(home.users_lock)  # held to the end of this process: newcomers wait until the server has stopped
    happenings.put(Happening.UNUSED)


def _report_end(process: subprocess.Popen[bytes], happenings: SimpleQueue[Happening]) -> None:
    process.wait()
    happenings.put(Happening.SERVER_ENDED)


def _leave(*_: object) -> None:
    raise SystemExit


def _note(text: str) -> None:
    moment = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    sys.stderr.write(f"{moment} {text}\n")
    sys.stderr.flush()
