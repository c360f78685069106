"""One child process shared by many programs on a host: who uses it, and who may start it.

The embedded database and the local model are such children. A user holds a shared `flock` on a file; the kernel drops
it with the process, however that ends, so there is no count that could go stale. The child's watcher waits for the
exclusive lock: when it gets it, nobody is left.

Rule: never pass a held descriptor to a child (they are close-on-exec), or the child would keep itself alive.
Locks with a deadline are polled, because a blocked `flock` cannot be interrupted; the interval is below what anybody
notices at a start.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_POLL_S = 0.01


class LockBusy(TimeoutError):
    """Another process kept the lock for longer than the caller would wait."""

    def __init__(self, lock: Path) -> None:
        super().__init__(f"another process holds {lock}")
        self.lock = lock


class SharedUse:
    """Hold a share of something until `release` or the end of this process.

    Concurrency: one holder per object; `hold` waits while a watcher has found the thing unused and takes it down.
    """

    def __init__(self, lock: Path) -> None:
        self._lock = lock
        self._fd: int | None = None

    @property
    def is_held(self) -> bool:
        return self._fd is not None

    def hold(self, *, timeout_s: float = 60.0) -> None:
        """Errors: LockBusy."""
        if self._fd is None:
            self._fd = _take(self._lock, fcntl.LOCK_SH, timeout_s)

    def release(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def wait_until_unused(lock: Path) -> int:
    """Block, without a deadline, until no process holds a share of `lock`.

    The descriptor returned keeps newcomers out until it is closed.
    """
    fd = _open(lock)
    fcntl.flock(fd, fcntl.LOCK_EX)
    return fd


def take(lock: Path, *, timeout_s: float) -> int:
    """Own `lock` alone until the descriptor returned is closed, here and in every child that inherited it.

    Errors: LockBusy.
    """
    return _take(lock, fcntl.LOCK_EX, timeout_s)


def is_used(lock: Path) -> bool:
    """Tell whether some process, this one included, holds `lock` in either mode."""
    return _is_refused(lock, fcntl.LOCK_EX)


def has_owner(lock: Path) -> bool:
    """Tell whether some process holds `lock` alone; any number may ask at once without seeing each other."""
    return _is_refused(lock, fcntl.LOCK_SH)


@contextmanager
def one_at_a_time(lock: Path, *, timeout_s: float = 300.0) -> Iterator[None]:
    """Let one process (or thread) at a time into the block; dropped by the kernel when its holder dies.

    Errors: LockBusy.
    """
    fd = take(lock, timeout_s=timeout_s)
    try:
        yield
    finally:
        os.close(fd)


def _open(lock: Path) -> int:
    lock.parent.mkdir(parents=True, exist_ok=True)
    return os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _take(lock: Path, mode: int, timeout_s: float) -> int:
    fd = _open(lock)
    try:
        _wait_for(fd, mode, lock, timeout_s)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _wait_for(fd: int, mode: int, lock: Path, timeout_s: float) -> None:
    end = time.monotonic() + timeout_s
    while not _try(fd, mode):
        if time.monotonic() >= end:
            raise LockBusy(lock)
        time.sleep(_POLL_S)


def _try(fd: int, mode: int) -> bool:
    try:
        fcntl.flock(fd, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_refused(lock: Path, mode: int) -> bool:
    try:
        fd = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:  # to ask must not make the folder of something that was removed
        return False
    try:
        return not _try(fd, mode)
    finally:
        os.close(fd)
