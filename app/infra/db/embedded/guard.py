"""A user's side of the bargain: the watcher keeps the server up, and every user keeps the watcher up."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from app.infra.db.embedded.errors import EmbeddedPostgresUnavailable
from app.kernel.shared_use import LockBusy, has_owner

_log = structlog.get_logger()
_LOOK_EVERY_S = 0.5
_LONGEST_PAUSE_S = 5.0
# A watch that lasted this long was well; its next end is a first one.
_WELL_AFTER_S = 15.0
_STOP_TIMEOUT_S = 10.0


class WatchGuard:
    """Call `restart` whenever nobody owns `watch_lock`, at growing intervals while that does not help.

    Cost: one thread, and one `flock` each half second.
    """

    def __init__(self, watch_lock: Path, restart: Callable[[], None]) -> None:
        self._watch_lock = watch_lock
        self._restart = restart
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._guard, name="embedded-postgres-guard", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._is_over.set()
        self._thread.join(_STOP_TIMEOUT_S)

    def _guard(self) -> None:
        pause_s = _LOOK_EVERY_S
        restarted_at = time.monotonic()
        while not self._is_over.wait(pause_s):
            if has_owner(self._watch_lock):
                continue
            is_first = time.monotonic() - restarted_at > _WELL_AFTER_S
            pause_s = _LOOK_EVERY_S if is_first else min(pause_s * 2, _LONGEST_PAUSE_S)
            restarted_at = time.monotonic()
            try:
                self._restart()
                _log.warning("embedded_postgres.watcher_restarted")
            except (EmbeddedPostgresUnavailable, LockBusy, OSError) as error:
                _log.warning("embedded_postgres.watcher_missed", error=str(error))
