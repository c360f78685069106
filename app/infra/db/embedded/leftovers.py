"""End the processes an earlier server left behind, before its files are opened again.

They are known by their command lines: a postmaster's names the cluster's folder, its children's carry `cluster_name`.
Command lines may be read by everybody, unlike working directories, which root in a container may not see.
Standard library only: the watcher imports this module.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.infra.db.embedded.home import Home
from app.kernel.shared_use import LockBusy, take

_POSTMASTER_PATIENCE_S = 10.0
_CHILDREN_PATIENCE_S = 10.0
_AGAIN_S = 0.2


@dataclass(frozen=True, slots=True)
class Leftover:
    pid: int
    is_postmaster: bool


def end_leftovers(home: Home, cluster: Path, *, uid: int) -> int:
    """Take `server_lock` from an earlier server's processes: a fast shutdown first, then an end to all of them.

    Errors: LockBusy, when a holder is not in sight (a container beside ours) or will not end.
    """
    if any(_signalled(leftover.pid, signal.SIGINT) for leftover in _find(home, cluster, uid) if leftover.is_postmaster):
        try:
            return take(home.server_lock, timeout_s=_POSTMASTER_PATIENCE_S)
        except LockBusy:
            pass
    end = time.monotonic() + _CHILDREN_PATIENCE_S
    while True:
        for leftover in _find(home, cluster, uid):
            _signalled(leftover.pid, signal.SIGKILL)
        try:
            return take(home.server_lock, timeout_s=_AGAIN_S)
        except LockBusy:
            if time.monotonic() > end:
                raise


def recognise(command_line: str, *, cluster: Path, mark: str) -> bool | None:
    """Tell a postmaster of the cluster (True) from one of its children (False) and from anything else (None)."""
    if command_line.startswith(f"postgres: {mark}:"):
        return False
    program, _, rest = command_line.partition(" ")
    return True if program.endswith("postgres") and rest.startswith(f"-D {cluster} ") else None


def _find(home: Home, cluster: Path, uid: int) -> list[Leftover]:
    found = []
    for pid, command_line in _processes_of(uid):
        is_postmaster = recognise(command_line, cluster=cluster, mark=home.mark)
        if is_postmaster is not None:
            found.append(Leftover(pid=pid, is_postmaster=is_postmaster))
    return found


def _processes_of(uid: int) -> Iterator[tuple[int, str]]:
    """Zombies have no command line, and so are left out."""
    if not Path("/proc/self/cmdline").exists():
        yield from _processes_listed_by_ps(uid)
        return
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and entry.stat().st_uid == uid:
                yield int(entry.name), (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # ended while we looked
            continue


def _processes_listed_by_ps(uid: int) -> Iterator[tuple[int, str]]:
    command = ["/bin/ps", "-axww", "-o", "pid=,uid=,command="]
    listed = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)  # noqa: S603 - constant
    for line in listed.stdout.splitlines():
        pid, owner, command_line = line.split(None, 2)
        if int(owner) == uid:
            yield int(pid), command_line


def _signalled(pid: int, signal_number: signal.Signals) -> bool:
    try:
        os.kill(pid, signal_number)
    except ProcessLookupError:
        return False
    return True
