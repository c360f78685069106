"""Where the embedded database keeps what it needs, all of it known from one folder's path.

Standard library only: the watcher imports this module.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

_SOCKET = ".s.PGSQL.5432"
# sun_path holds 108 bytes on Linux and 104 on macOS, the final zero included.
_SOCKET_PATH_LIMIT_BYTES = 103
# A comma separates directories for the server, a colon hosts for the driver, a percent sign escapes in a DSN.
_PLAIN_PATH = re.compile(r"[A-Za-z0-9/._-]+")


@dataclass(frozen=True, slots=True)
class Home:
    """The folder of one embedded database; `root` is absolute and resolved.

    `start_lock` is held by whoever prepares or starts, `users_lock` shared by every user, `watch_lock` owned by the
    watcher, and `server_lock` by the postgres processes together, which inherit it.
    """

    root: Path

    @property
    def start_lock(self) -> Path:
        return self.root / "start.lock"

    @property
    def users_lock(self) -> Path:
        return self.root / "users.lock"

    @property
    def watch_lock(self) -> Path:
        return self.root / "watch.lock"

    @property
    def server_lock(self) -> Path:
        return self.root / "server.lock"

    @property
    def log(self) -> Path:
        return self.root / "postgres.log"

    @property
    def mark(self) -> str:
        """The name under which the server's processes show in `ps`, told apart from those of any other folder."""
        return "portico-" + hashlib.sha256(str(self.root).encode()).hexdigest()[:16]

    @property
    def socket_dir(self) -> Path:
        """Inside the folder where its path is short and plain enough, else a folder named after it in /tmp.

        /tmp itself and not TMPDIR, because programs with different environments must find the same place.
        """
        inside = self.root / "socket"
        is_short = len(str(inside / _SOCKET).encode()) <= _SOCKET_PATH_LIMIT_BYTES
        return inside if is_short and _PLAIN_PATH.fullmatch(str(inside)) else Path("/tmp") / self.mark  # noqa: S108 - ownership is checked before use

    @property
    def socket(self) -> Path:
        return self.socket_dir / _SOCKET

    def cluster(self, major: int) -> Path:
        return self.root / str(major)
