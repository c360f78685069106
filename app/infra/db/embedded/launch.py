"""Start the watcher, detached from the program that needs it."""

import os
import subprocess
import sys
from pathlib import Path

from app.infra.db.embedded.account import Account, clean_environment
from app.infra.db.embedded.binaries import Binaries
from app.infra.db.embedded.cluster import server_command
from app.infra.db.embedded.errors import ServerDidNotStart, StillBusy
from app.infra.db.embedded.home import Home
from app.infra.db.embedded.server import Plan
from app.infra.db.embedded.watch import ON_WATCH

# The folder this program was imported from goes last on the path: nothing beside it may hide the standard library.
_WATCH = "import sys; sys.path.append(sys.argv[1]); from app.infra.db.embedded.watch import main; main(sys.argv[2])"
_IMPORTED_FROM = Path(__file__).resolve().parents[4]
_TIMEOUT_S = 30.0
_LOG_LIMIT_BYTES = 1_000_000
_LOG_TAIL_BYTES = 16_384


def launch_watcher(home: Home, cluster: Path, account: Account, binaries: Binaries) -> None:
    """Return when the watch is owned, the server perhaps still starting. Call it with `start_lock` held.

    The process started here forks the watcher and ends at once, so the watcher is nobody's child: it leaves no zombie
    with a program that lives on, and is not ended with a tree of processes.
    Errors: ServerDidNotStart, StillBusy.
    """
    plan = Plan(
        home=str(home.root),
        cluster=str(cluster),
        command=server_command(home, cluster, binaries),
        environment=clean_environment(),
        uid=account.uid,
        gid=account.gid,
        is_dropped_to=account.is_dropped_to,
    )
    _cut_log(home.log)
    log = os.open(home.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        # -I -S: neither the environment nor site-packages can add to what the watcher loads.
        starter = subprocess.run(  # noqa: S603 - our own interpreter, no shell
            [sys.executable, "-I", "-S", "-c", _WATCH, str(_IMPORTED_FROM), plan.to_text()],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=plan.environment,
            start_new_session=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise StillBusy(f"the database's watcher did not start within {_TIMEOUT_S:.0f} s: see {home.log}") from error
    finally:
        os.close(log)
    if starter.returncode > 0:  # below zero it was killed, and the caller will find the watch without an owner
        raise ServerDidNotStart(f"the database's watcher did not start: see {home.log}")


def last_words(log: Path) -> str:
    """What was logged since the last watcher began; an earlier one's troubles are not this one's."""
    with log.open("rb") as file:
        file.seek(max(log.stat().st_size - _LOG_TAIL_BYTES, 0))
        return file.read().decode(errors="replace").rpartition(ON_WATCH)[2]


def _cut_log(log: Path) -> None:
    if log.exists() and log.stat().st_size > _LOG_LIMIT_BYTES:
        log.rename(log.with_suffix(".log.1"))
