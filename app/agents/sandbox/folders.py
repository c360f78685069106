"""The work folders: one for each conversation, small, apart from each other, and forgotten when nobody uses them.

    DATA_DIR/sandbox/NAME/now/files/...   what the last program left
                         /now/last.json   what came of it, by its key
                         /next, /before   while the one takes the place of the other
                         /lock

Rule: programs never see these paths (they work in copies), and whatever they left was put here by us: regular files in
real folders. A change is whole or has not happened, also when the program dies in the midst of it.
"""

import asyncio
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path, PurePosixPath

import anyio.to_thread
import structlog

from app.agents.contract import Turn
from app.agents.sandbox.ports import Limits
from app.kernel.values import Json

PATIENCE_S = 30.0
"""how long a call waits while another one has the folder"""
ASK_AGAIN_S = 0.05
LOOK_S = 3600.0

log = structlog.get_logger(__name__)


class FolderBusy(Exception):
    """Another call works in the folder, and does not end."""


class FolderFull(Exception):
    """What was to be written does not fit; the message says what does."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    path: str
    size: int


@dataclass(frozen=True, slots=True)
class WorkFolder:
    """One that is held: nobody else changes it meanwhile. Its methods block on the disk."""

    home: Path
    limits: Limits

    @property
    def files(self) -> Path:
        return self.home / "now" / "files"

    @property
    def next(self) -> Path:
        return self.home / "next" / "files"

    def set_up(self) -> None:
        """Make it as it should be, whatever happened before."""
        now, before = self.home / "now", self.home / "before"
        if not now.exists() and before.exists():
            before.rename(now)
        self.files.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in (before, self.home / "next"):
            shutil.rmtree(left, ignore_errors=True)

    def prepare(self) -> Path:
        """Give an empty folder for what is to come."""
        shutil.rmtree(self.home / "next", ignore_errors=True)
        self.next.mkdir(parents=True, mode=0o700)
        return self.next

    def take(self, key: str, result: Json) -> None:
        """Have the next files take the place of these, with what came of the program that left them."""
        now, before, following = self.home / "now", self.home / "before", self.home / "next"
        (following / "last.json").write_text(json.dumps({"key": key, "result": result}), "utf-8")
        now.rename(before)
        following.rename(now)
        shutil.rmtree(before, ignore_errors=True)

    def result_of(self, key: str) -> Json:
        """Give what came of the last program, where that is the one of this key; else None."""
        try:
            last = json.loads((self.home / "now" / "last.json").read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return last.get("result") if key and isinstance(last, dict) and last.get("key") == key else None

    def listed(self) -> list[StoredFile]:
        return [StoredFile(str(path.relative_to(self.files)), path.stat().st_size) for path in files_of(self.files)]

    def read(self, path: PurePosixPath) -> bytes | None:
        """Give a file's bytes; None where there is no such file."""
        try:
            descriptor = os.open(self._within(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return None
        try:
            with os.fdopen(descriptor, "rb") as file:
                return file.read(self.limits.files_bytes)
        except IsADirectoryError:
            os.close(descriptor)
            return None

    def write(self, path: PurePosixPath, content: bytes) -> None:
        """Write a file as a whole. Errors: FolderFull, OSError (a folder is in its way)."""
        others = [one for one in self.listed() if one.path != str(path)]
        left_bytes = self.limits.files_bytes - sum(one.size for one in others)
        if len(others) >= self.limits.files:
            raise FolderFull(f"the folder holds {self.limits.files} files at most; remove some with a program")
        if len(content) > left_bytes:
            raise FolderFull(f"there is room for {max(left_bytes, 0)} bytes; remove files with a program")
        target = self._within(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = self.home / "now" / "writing"
        beside.write_bytes(content)
        beside.replace(target)

    def _within(self, path: PurePosixPath) -> Path:
        """Join a checked path; nothing here is a link, and if somebody made one it is not followed."""
        target = self.files / path
        if not target.parent.resolve().is_relative_to(self.files.resolve()):
            raise FileNotFoundError(str(path))
        return target


@dataclass(frozen=True, slots=True)
class WorkFolders:
    """Concurrency: safe between tasks and between processes of one machine, by a lock in each folder."""

    root: Path
    limits: Limits
    most: int
    keep: timedelta

    @asynccontextmanager
    async def held(self, turn: Turn) -> AsyncIterator[WorkFolder]:
        """Have the folder of a turn's conversation to oneself. Errors: FolderBusy."""
        home = self.root / name_of(turn)
        lock = await self._locked(home)
        try:
            folder = WorkFolder(home, self.limits)
            await whole(folder.set_up)
            yield folder
        finally:
            os.close(lock)

    async def _locked(self, home: Path) -> int:
        until = time.monotonic() + PATIENCE_S
        while True:
            lock = await asyncio.to_thread(self._try_lock, home)
            if lock is not None:
                return lock
            if time.monotonic() > until:
                raise FolderBusy
            await asyncio.sleep(ASK_AGAIN_S)

    def _try_lock(self, home: Path) -> int | None:
        """Lock a folder, and make room for it where it is new; None while another one has it."""
        if not home.exists():
            self._make_room()
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = _lock(home)
        if lock is None:
            return None
        try:
            is_there = os.fstat(lock).st_ino == (home / "lock").stat().st_ino
        except FileNotFoundError:
            is_there = False
        if not is_there:  # it was forgotten in between
            os.close(lock)
            return None
        os.utime(home)
        return lock

    def _make_room(self) -> None:
        """Forget those that were not used for longest, until one more is allowed."""
        homes = sorted(self._homes(), key=_last_use)
        for home in homes[: max(len(homes) - self.most + 1, 0)]:
            _forget(home)

    async def forget_now_and_then(self) -> None:
        """Forget what is old, at the start and every hour."""
        while True:
            if forgotten := await asyncio.to_thread(self.forget_old):
                log.info("work_folders.forgotten", folders=forgotten)
            await asyncio.sleep(LOOK_S)

    def forget_old(self) -> int:
        """Forget what nobody used for so long; tell how many. Blocks on the disk."""
        oldest = time.time() - self.keep.total_seconds()
        return sum(_forget(home) for home in self._homes() if _last_use(home) < oldest)

    def _homes(self) -> list[Path]:
        try:
            return [home for home in self.root.iterdir() if home.is_dir() and not home.is_symlink()]
        except FileNotFoundError:
            return []


async def whole[**P, T](change: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Change a folder in a thread, and wait for it also when cancelled: the folder stays ours until it is done."""
    return await anyio.to_thread.run_sync(partial(change, *args, **kwargs))  # is not left while its thread works


def name_of(turn: Turn) -> str:
    """Name the folder of a conversation: a chat's, else a run's. Nobody else's has the same, whatever an id becomes."""
    acting = turn.caller.acting
    if turn.chat_id is not None:
        of = f"chat-{turn.chat_id}"
    elif acting is not None:
        of = f"run-{acting.run_id}"
    else:
        of = f"turn-{hashlib.sha256(turn.request_id.encode()).hexdigest()[:16]}"
    return f"{of}-{hashlib.sha256(turn.caller.user_id.encode()).hexdigest()[:16]}"


def files_of(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path


def _last_use(home: Path) -> float:
    try:
        return home.stat().st_mtime
    except FileNotFoundError:
        return float("inf")


def _lock(home: Path) -> int | None:
    try:
        lock = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _forget(home: Path) -> bool:
    """Remove a folder that nobody works in."""
    lock = _lock(home)
    if lock is None:
        return False
    try:
        with suppress(OSError):
            shutil.rmtree(home)
        return not home.exists()
    finally:
        os.close(lock)
