"""A state folder, and which of those that use it at the same time this process is.

Each takes the first of a few places that is free. Whoever had it before is dead, or the kernel would not have let it
go, so that its runs need not wait until their leases are over: they go on at once in whoever takes its place.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.kernel.shared_use import LockBusy, one_at_a_time
from app.kernel.worker import WorkerPlace

MAX_AT_ONCE = 16


class StateBusy(Exception):
    """As many programs as may use a state folder do."""


@contextmanager
def taken_place(folder: Path) -> Iterator[WorkerPlace]:
    """Errors: StateBusy; OSError, where the folder cannot be used."""
    for number in range(MAX_AT_ONCE):
        try:
            with one_at_a_time(folder / f"place-{number}.lock", timeout_s=0):
                yield _place(folder / f"place-{number}.worker", number)
                return
        except LockBusy as busy:
            if busy.lock != folder / f"place-{number}.lock":
                raise
    raise StateBusy(f"{MAX_AT_ONCE} programs use {folder} already; name another folder.")


def _place(file: Path, number: int) -> WorkerPlace:
    before = file.read_text("utf-8") if file.exists() else ""
    name = f"headless-{number}:{os.getpid()}:{secrets.token_hex(4)}"
    file.write_text(name, "utf-8")
    return WorkerPlace(name=name, predecessor=before)
