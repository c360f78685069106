"""Whom the embedded server runs as, and how its programs are run.

PostgreSQL refuses uid 0. Started by root it runs as `nobody`, which exists everywhere, so no account is made and no
folder but our own is opened up. Standard library only: the watcher imports this module.
"""

import os
import pwd
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_NOBODY = 65534
# The caller's environment may hold secrets, and `nobody` has other processes that could read ours.
_ENVIRONMENT_KEPT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


@dataclass(frozen=True, slots=True)
class Account:
    """The owner of the server's processes and files; `is_dropped_to` when we are root and it is not."""

    uid: int
    gid: int
    is_dropped_to: bool

    @property
    def user(self) -> int | None:
        """What `subprocess` takes: None leaves the child as we are."""
        return self.uid if self.is_dropped_to else None

    @property
    def group(self) -> int | None:
        return self.gid if self.is_dropped_to else None

    @property
    def extra_groups(self) -> list[int] | None:
        return [] if self.is_dropped_to else None

    def owns(self, path: Path) -> bool:
        return path.lstat().st_uid == self.uid

    def give(self, path: Path) -> None:
        if self.is_dropped_to:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    succeeded: bool
    output: str


def server_account() -> Account:
    if os.geteuid() != 0:
        return Account(uid=os.geteuid(), gid=os.getegid(), is_dropped_to=False)
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        return Account(uid=_NOBODY, gid=_NOBODY, is_dropped_to=True)
    return Account(uid=nobody.pw_uid, gid=nobody.pw_gid, is_dropped_to=True)


def clean_environment() -> dict[str, str]:
    """Only what a program of PostgreSQL needs; no PG* variable may redirect it."""
    kept = {name: os.environ[name] for name in _ENVIRONMENT_KEPT if name in os.environ}
    return kept | {"LC_ALL": "C.UTF-8" if sys.platform == "linux" else "C"}


def run(arguments: Sequence[str | Path], account: Account, *, timeout_s: float) -> Outcome:
    """Run a program of PostgreSQL to its end.

    Errors: OSError when it cannot be executed, subprocess.TimeoutExpired.
    """
    # A file, never a pipe: whatever the program leaves running would hold a pipe open and us with it.
    with tempfile.TemporaryFile() as output:
        ended = subprocess.run(  # noqa: S603 - our own binaries, no shell
            [str(argument) for argument in arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            env=clean_environment(),
            start_new_session=True,  # Ctrl-C in the terminal is for the program, not for its database
            user=account.user,
            group=account.group,
            extra_groups=account.extra_groups,
            umask=0o077,
            timeout=timeout_s,
            check=False,
        )
        output.seek(0)
        text = output.read().decode(errors="replace")
        if ended.returncode < 0:
            text += f"\n{Path(arguments[0]).name} was ended by signal {-ended.returncode}"
        return Outcome(succeeded=ended.returncode == 0, output=text)
