"""The folder in which the local model's child and its users find each other.

    users.lock    shared by every program that uses the child; free means that nobody is left
    server.lock   owned by the child from its first moment to its last; free means that there is no child
    child.json    where the child listens and the key it wants; there only while it answers requests
    log           what the child printed, from its start, bounded

One folder per model file: programs configured with different files do not meet.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a child that is ready says of itself.

    Shapes/units: `started_at` in seconds since the epoch; `context_tokens` for one conversation, its answer included.
    """

    port: int
    api_key: str
    pid: int
    started_at: float
    context_tokens: int


@dataclass(frozen=True, slots=True)
class ModelHome:
    folder: Path

    @property
    def users_lock(self) -> Path:
        return self.folder / "users.lock"

    @property
    def server_lock(self) -> Path:
        return self.folder / "server.lock"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def _announcement(self) -> Path:
        return self.folder / "child.json"

    def make(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def announce(self, announcement: Announcement) -> None:
        """Publish in one step, for this user's eyes only: the key is in it."""
        draft = self.folder / f"child.json.{announcement.pid}"
        draft.unlink(missing_ok=True)
        draft.touch(mode=0o600, exist_ok=False)
        draft.write_text(json.dumps(asdict(announcement)), encoding="utf-8")
        draft.rename(self._announcement)

    def withdraw(self) -> None:
        self._announcement.unlink(missing_ok=True)

    def read(self) -> Announcement | None:
        """What the last child announced, if it is still on record; it may have died since."""
        try:
            return Announcement(**json.loads(self._announcement.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None


def home_of(folder: Path, gguf: Path) -> ModelHome:
    digest = hashlib.sha256(os.fsencode(gguf)).hexdigest()
    return ModelHome(folder.absolute() / digest[:12])
