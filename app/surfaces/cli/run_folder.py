"""The folder that sibling workers share: for their sockets, closed to other accounts, gone when they are.

Standard library only: the supervisor imports this module.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from app.kernel.shared_use import has_owner, take

_PREFIX = "portico-run-"
_LOCK = "supervisor.lock"
_LONGEST_PARENT_CHARS = 60  # a Unix socket's path has 104 bytes on some systems, and the workers add names of their own
_SWEPT_AFTER_S = 60.0  # whoever makes a folder has locked it by then


@contextmanager
def run_folder() -> Iterator[Path]:
    """Make the folder, mode 0700, and remove it at the end, with those that killed supervisors left behind."""
    parent = _parent()
    _sweep(parent)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    lock = take(folder / _LOCK, timeout_s=1)
    try:
        yield folder
    finally:
        os.close(lock)
        shutil.rmtree(folder, ignore_errors=True)


def _parent() -> Path:
    """Take systemd's `RuntimeDirectory=` if there is one, else the place of temporary files."""
    named = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0] or tempfile.gettempdir()
    return Path(named) if len(named) <= _LONGEST_PARENT_CHARS else Path("/tmp")  # noqa: S108 - mkdtemp makes it ours


def _sweep(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        lock = folder / _LOCK
        with suppress(OSError):  # another account's, or somebody else sweeps it
            is_old = time.time() - lock.stat().st_mtime > _SWEPT_AFTER_S
            if lock.stat().st_uid == os.geteuid() and is_old and not has_owner(lock):
                shutil.rmtree(folder)
