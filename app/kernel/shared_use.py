"""One child process shared by many programs on a host: who uses it, and who may start it.

The embedded database and the local model are such children. A user holds a shared `flock` on a file; the kernel drops
it with the process, however that ends, so there is no count that could go stale. The child's watcher waits for the
exclusive lock: when it gets it, nobody is left.

Rule: never pass a held descriptor to a child (they are close-on-exec), or the child would keep itself alive.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class SharedUse:
    """Hold a share of something until `release` or the end of this process.

    Concurrency: one holder per object; `hold` blocks while a watcher has found the thing unused and takes it down.
    """

    def __init__(self, lock: Path) -> None:
        self._lock = lock
        self._fd: int | None = None

    @property
    def is_held(self) -> bool:
        return self._fd is not None

    def hold(self) -> None:
        if self._fd is not None:
            return
        fd = _open(self._lock)
        fcntl.flock(fd, fcntl.LOCK_SH)
        self._fd = fd

    def release(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def wait_until_unused(lock: Path) -> int:
    """Block until no process holds a share of `lock`; the descriptor returned keeps newcomers out while it is open."""
    fd = _open(lock)
    fcntl.flock(fd, fcntl.LOCK_EX)
    return fd


def is_used(lock: Path) -> bool:
    """Tell whether some process, this one included, holds `lock` in either mode."""
    fd = _open(lock)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


@contextmanager
def one_at_a_time(lock: Path) -> Iterator[None]:
    """Let one process (or thread) at a time into the block; dropped by the kernel when its holder dies."""
    fd = _open(lock)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _open(lock: Path) -> int:
    lock.parent.mkdir(parents=True, exist_ok=True)
    return os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
