"""What comes out of a sandbox, taken with care: frames of a bounded size, and files that end up where they
are meant to.

Rule: whatever is read here was written by a program nobody trusts. A path stays below its folder, a file is new and
regular, and what is too much is left out.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from app.agents.sandbox.ports import BackendAway, Limits
from app.kernel.values import Json

FRAME_LIMIT_BYTES = 256 * 1024
PATH_LIMIT_BYTES = 1024
NAME_LIMIT_BYTES = 255
DEPTH_LIMIT = 16


class PathRefused(ValueError):
    """A path that may not be one of a work folder."""


def checked_path(path: object) -> PurePosixPath:
    """Give a path within a work folder. Errors: PathRefused."""
    if not isinstance(path, str) or not path or "\0" in path:
        raise PathRefused("it must be a text without NUL")
    try:
        size = len(path.encode())
    except UnicodeEncodeError as error:
        raise PathRefused("it is not UTF-8") from error
    parts = path.split("/")
    if path.startswith("/") or any(part in {"", ".", ".."} for part in parts):
        raise PathRefused("it must be relative, without . and ..")
    if size > PATH_LIMIT_BYTES or len(parts) > DEPTH_LIMIT or any(len(p.encode()) > NAME_LIMIT_BYTES for p in parts):
        raise PathRefused("it is too long or too deep")
    return PurePosixPath(path)


@dataclass(slots=True)
class Inbox:
    """Puts files into a folder of ours that was empty. Not for several tasks; its calls block on the disk."""

    folder: Path
    limits: Limits
    left_out: list[str] = field(default_factory=list)
    _files: int = 0
    _bytes: int = 0
    _file: BinaryIO | None = None

    def begin(self, path: object) -> None:
        """Begin a file; what follows goes into it."""
        self.close()
        try:
            self._begin(checked_path(path))
        except (PathRefused, OSError):  # a file where a folder was to be, or a name the disk does not take
            self._leave_out(path)

    def _begin(self, path: PurePosixPath) -> None:
        if self._files >= self.limits.files:
            self._leave_out(str(path))
            return
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        self._file = os.fdopen(os.open(target, flags, 0o600), "wb")
        self._files += 1

    def write(self, piece: bytes) -> None:
        if self._file is None:
            return
        self._bytes += len(piece)
        if self._bytes > self.limits.files_bytes:
            raise BackendAway("the sandbox gave back more than the work folder holds")
        self._file.write(piece)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _leave_out(self, path: object) -> None:
        if len(self.left_out) < 50:
            self.left_out.append(str(path)[:PATH_LIMIT_BYTES].encode("utf-8", "replace").decode())


def document(payload: bytes) -> Mapping[str, Json]:
    """Read a frame that holds JSON. Errors: BackendAway."""
    try:
        found = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise BackendAway("the sandbox answered with what is no JSON") from error
    if not isinstance(found, dict):
        raise BackendAway("the sandbox answered with what is no object")
    return found
