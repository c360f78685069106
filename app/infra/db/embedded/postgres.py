"""PostgreSQL for whoever has none: real, shared by all programs on a folder, and gone when the last of them is.

Life cycle::

    program --acquire--> [start_lock] share users_lock; nobody owns watch_lock?
                              |  no: wait until the server answers a session
                              |  yes: make the cluster if there is none, start the watcher, wait likewise
    watcher (own session)     owns watch_lock; parent of the postmaster, starts it again when it dies;
                              |  gets users_lock when the last share is dropped, by `release` or by the kernel
                              v
                          stops the postmaster, drops watch_lock, then users_lock, and ends
    postgres processes        share server_lock by inheritance: free means that none is left, whatever pid files say
    every user's guard        starts another watcher when this one is killed; on Linux the kernel stops the postmaster
                              with its watcher, so nothing stays behind even when all of them are killed at once

Lock order: `start_lock`, `users_lock`, `watch_lock`, `server_lock`. The watcher never takes `start_lock`, because a
starter holds it while it waits for the watcher to drop `users_lock`. No descriptor of the first three reaches a child
of PostgreSQL. Locks are flocks: they end with their holders, and nothing here counts or trusts a process id.
"""

import re
import threading
import time
from pathlib import Path

from app.infra.db.embedded.account import server_account
from app.infra.db.embedded.binaries import find_binaries
from app.infra.db.embedded.cluster import create_database, has_cluster, prepare_cluster, prepare_home
from app.infra.db.embedded.errors import FolderRefused, StillBusy, explain
from app.infra.db.embedded.guard import WatchGuard
from app.infra.db.embedded.home import Home
from app.infra.db.embedded.launch import last_words, launch_watcher
from app.infra.db.embedded.probe import Answer, probe
from app.infra.db.embedded.watch import GAVE_UP
from app.kernel.shared_use import LockBusy, SharedUse, has_owner, is_used, one_at_a_time

_PLAIN_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_POLL_S = 0.02
_LONGEST_POLL_S = 0.25
_STARTS = 3
_RESTART_TIMEOUT_S = 5.0
_STOP_TIMEOUT_S = 5.0


class EmbeddedPostgres:
    """A share in the database of one folder.

    Shapes/units: `timeout_s` bounds the whole of `acquire`, crash recovery and the waits for other starters included.
    Concurrency:  safe from many threads; many objects and many processes may share a folder.
    """

    def __init__(self, home: Path, *, database: str = "portico", timeout_s: float = 120.0) -> None:
        if not _PLAIN_NAME.fullmatch(database):
            raise ValueError(f"not a plain database name: {database!r}")
        self._home = Home(home.resolve())
        self._database = database
        self._timeout_s = timeout_s
        self._account = server_account()
        self._use = SharedUse(self._home.users_lock)
        self._mutex = threading.Lock()
        self._guard: WatchGuard | None = None

    @property
    def home(self) -> Path:
        return self._home.root

    @property
    def dsn(self) -> str:
        """Known before the start, and the same in every program on the folder."""
        return f"postgresql+asyncpg://postgres@/{self._database}?host={self._home.socket_dir}"

    def acquire(self) -> None:
        """Attach to the server, started first if need be, and return when it accepts queries; blocks meanwhile.

        The share is held until `release` or the end of this process, however that comes. A second call does nothing.
        Errors: EmbeddedPostgresUnavailable.
        Cost:   0.02 s when it runs, 0.3 s when it must start, about 1.5 s when its files must be made.
        """
        with self._mutex:
            if self._use.is_held:
                return
            end = time.monotonic() + self._timeout_s
            prepare_home(self._home, self._account)
            try:
                with one_at_a_time(self._home.start_lock, timeout_s=self._timeout_s):
                    self._use.hold(timeout_s=end - time.monotonic())
                    self._ensure_answer(end)
            except BaseException as error:
                self._use.release()
                if isinstance(error, LockBusy):
                    raise self._still_busy() from error
                if isinstance(error, OSError):
                    raise explain(str(error), self._home.root) from error
                raise
            self._guard = WatchGuard(self._home.watch_lock, self._restart_watcher)
            self._guard.start()

    def release(self) -> None:
        """Drop the share; when it was the last, the watcher stops the server, and we wait a while for that."""
        with self._mutex:
            if not self._use.is_held:
                return
            if self._guard is not None:
                self._guard.stop()
                self._guard = None
            self._use.release()
            self._wait_unless_used()

    def _ensure_answer(self, end: float) -> None:
        if not has_owner(self._home.watch_lock):
            self._start_watcher()
        pause_s, starts_left = _POLL_S, _STARTS
        while (answer := probe(self._home.socket, database=self._database)) is not Answer.READY:
            if time.monotonic() > end:
                raise self._still_busy()
            if answer is Answer.NO_SUCH_DATABASE:
                self._create_database()
            elif not has_owner(self._home.watch_lock):
                words = last_words(self._home.log)
                if GAVE_UP in words or not starts_left:
                    raise explain(words, self._home.root)
                starts_left -= 1  # the watcher was killed
                self._start_watcher()
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.2, _LONGEST_POLL_S)  # a server in recovery logs every question

    def _wait_unless_used(self) -> None:
        end = time.monotonic() + _STOP_TIMEOUT_S
        while has_owner(self._home.watch_lock) and time.monotonic() < end:
            if is_used(self._home.users_lock) and not has_owner(self._home.users_lock):  # shared: others stay
                return
            time.sleep(_POLL_S)

    def _start_watcher(self) -> None:
        binaries = find_binaries(self._home.root, self._account)
        cluster = prepare_cluster(self._home, self._account, binaries)
        launch_watcher(self._home, cluster, self._account, binaries)

    def _restart_watcher(self) -> None:
        """Called by the guard while we hold our share; never makes a new, empty cluster under a running program."""
        if not self._home.root.is_dir():
            raise FolderRefused(f"{self._home.root} was removed while in use")
        with one_at_a_time(self._home.start_lock, timeout_s=_RESTART_TIMEOUT_S):
            if has_owner(self._home.watch_lock):
                return
            binaries = find_binaries(self._home.root, self._account)
            cluster = self._home.cluster(binaries.major)
            if not has_cluster(cluster):
                raise FolderRefused(f"{cluster} has gone")
            launch_watcher(self._home, cluster, self._account, binaries)

    def _create_database(self) -> None:
        binaries = find_binaries(self._home.root, self._account)
        outcome = create_database(self._database, self._home, self._account, binaries)
        # A server that was killed meanwhile is started again by its watcher, and we ask again.
        if not outcome.succeeded and probe(self._home.socket, database="postgres") is Answer.READY:
            raise explain(outcome.output, self._home.root)

    def _still_busy(self) -> StillBusy:
        return StillBusy(
            f"the embedded database in {self._home.root} did not answer within {self._timeout_s:.0f} s: wait and try "
            f"again, for another program may be starting, stopping or recovering it; see {self._home.log}"
        )
