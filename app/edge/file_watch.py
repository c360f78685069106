"""Has a file changed, and has it come to rest: asked every few milliseconds, however it is replaced.

Facts
- Editors rename a new file into the old one's place or write it piece by piece, Kubernetes swaps a link in the path:
  the path is asked anew each time, so that all of them look alike. Events would need a watch on every folder of it.
- A time stamp moves in steps (of 4 ms on Linux, 1 s or 2 s elsewhere), so two writes within a step may look like one:
  a file that is that young is read each time. What counts is its content.
"""

import time
from dataclasses import dataclass
from pathlib import Path

TIME_STEP_S = 2
SIZE_LIMIT_BYTES = 16 * 1024**2

type Stamp = tuple[int, int, int, int]
"""device, inode, bytes, nanoseconds of the last write"""


@dataclass(slots=True)
class FileWatch:
    """Remember what was read last; content of None is a file that cannot be read, or is too large to be a table.

    Cost of a look: one system call, and for two seconds after a change one read.
    """

    file: Path
    content: bytes | None
    _stamp: Stamp | None = None
    _seen: bytes | None = None
    _is_at_rest: bool = False

    def read_again(self) -> None:
        """Take the content as it is now, at rest or not."""
        self._stamp, _ = self._look()
        self.content = self._seen = self._read()

    def has_changed(self) -> bool:
        """Look; True once for each new content, when two looks in a row found the same."""
        stamp, is_young = self._look()
        if stamp == self._stamp and self._is_at_rest and not is_young:
            return False
        seen = self._read()
        self._is_at_rest = stamp == self._stamp and seen == self._seen
        self._stamp, self._seen = stamp, seen
        if not self._is_at_rest or seen == self.content:
            return False
        self.content = seen
        return True

    def _look(self) -> tuple[Stamp | None, bool]:
        try:
            found = self.file.stat()
        except OSError:
            return None, False
        stamp = found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
        return stamp, abs(time.time() - found.st_mtime) < TIME_STEP_S

    def _read(self) -> bytes | None:
        try:
            with self.file.open("rb") as opened:
                content = opened.read(SIZE_LIMIT_BYTES + 1)
        except OSError:
            return None
        return content if len(content) <= SIZE_LIMIT_BYTES else None
