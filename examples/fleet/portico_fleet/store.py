"""One SQLite file, one connection, one statement at a time, never on the event loop."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import anyio
from anyio import to_thread

_BUSY_S = 5.0


class Store:
    """Run pieces of work against one database file, each in its own transaction.

    Concurrency: safe from many tasks; work waits its turn, so each piece must be short and must not block on anything
    but the file. A cancelled task still finishes its piece.
    """

    def __init__(self, file: Path, schema: str) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(file, timeout=_BUSY_S, autocommit=True, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        self._db.executescript(f"PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON; {schema}")
        self._turn = anyio.CapacityLimiter(1)

    async def run[T](self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do `work` in a transaction that commits when it returns and rolls back when it raises."""
        return await to_thread.run_sync(self.run_now, work, limiter=self._turn)

    def run_now[T](self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do `work` in this thread; for start-up, before there is an event loop."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            result = work(self._db)
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")
        return result

    def close(self) -> None:
        self._db.close()
