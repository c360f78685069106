"""Files of a user: streamed to disk and back, a chunk in memory at a time, whatever their size."""

import hashlib
import re
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import anyio
from anyio import AsyncFile, to_thread
from msgspec import Struct

from portico_fleet.caller import Caller
from portico_fleet.refused import Conflict, FieldRefused, NotFound

LIMIT_BYTES = 1024**3
_FILES_PER_USER = 100
_CHUNK_BYTES = 256 * 1024
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")  # no leading dot: those are uploads under way


class StoredFile(Struct, rename="camel"):
    name: str
    size_bytes: int
    sha256: str


class FolderFull(Conflict):
    kind = "folder-full"


@dataclass(frozen=True, slots=True)
class Files:
    folder: Path

    def forget_unfinished(self) -> None:
        """Remove what a process left that was killed during an upload; for start-up."""
        for file in self.folder.glob("*/.*"):
            file.unlink()

    async def put(self, caller: Caller, name: str, chunks: AsyncIterator[bytes]) -> StoredFile:
        """Store a body under a name of the caller's; it appears when it is complete, or not at all.

        Errors: FieldRefused (the name), FolderFull, and whatever `chunks`, which must be bounded, raises.
        """
        target = self._path(caller, name)
        await to_thread.run_sync(_make_room, target)
        unfinished = target.with_name(f".{secrets.token_hex(8)}")
        try:
            stored = await _receive(unfinished, name, chunks)
            await anyio.Path(unfinished).rename(target)
        finally:
            unfinished.unlink(missing_ok=True)
        return stored

    async def open(self, caller: Caller, name: str) -> tuple[AsyncFile[bytes], int]:
        """Open a file and tell its size; what `read` then gives is this version, even when it is replaced meanwhile.

        Errors: FieldRefused (the name), NotFound.
        """
        try:
            file = await anyio.open_file(self._path(caller, name), "rb")
        except FileNotFoundError as fact:
            raise NotFound("there is no such file") from fact
        size_bytes = await file.seek(0, 2)
        await file.seek(0)
        return file, size_bytes

    async def remove(self, caller: Caller, name: str) -> None:
        try:
            await anyio.Path(self._path(caller, name)).unlink()
        except FileNotFoundError as fact:
            raise NotFound("there is no such file") from fact

    def _path(self, caller: Caller, name: str) -> Path:
        if _NAME.fullmatch(name) is None:
            raise FieldRefused("name", "1 to 100 letters, digits, dots, dashes, underscores; no dot first")
        return self.folder / hashlib.sha256(caller.user_id.encode()).hexdigest() / name


async def read(file: AsyncFile[bytes]) -> AsyncIterator[bytes]:
    async with file:
        while chunk := await file.read(_CHUNK_BYTES):
            yield chunk


async def _receive(target: Path, name: str, chunks: AsyncIterator[bytes]) -> StoredFile:
    digest, size_bytes = hashlib.sha256(), 0
    async with await anyio.open_file(target, "xb") as file:
        async for chunk in chunks:
            size_bytes += len(chunk)
            digest.update(chunk)
            await file.write(chunk)
    return StoredFile(name=name, size_bytes=size_bytes, sha256=digest.hexdigest())


def _make_room(target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists() and sum(1 for _ in target.parent.iterdir()) >= _FILES_PER_USER:
        raise FolderFull(f"a user has at most {_FILES_PER_USER} files")
