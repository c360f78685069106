"""The archive: a zip file with `NAME.jsonl` for each table, a line a row, and `manifest.json`, which is written last.

Everything here blocks; call it in a thread. A line is an object of the columns in PostgreSQL's own text, so that every
value comes back as it was, whatever its type.
"""

import hashlib
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Self

import msgspec

from app.features.backups.domain.backup import FORMAT, BackupNotFound, BackupUnusable, KeptTable, Manifest

MANIFEST = "manifest.json"
MANIFEST_LIMIT_BYTES = 1024 * 1024
LINE_LIMIT_BYTES = 64 * 1024 * 1024

type Line = Mapping[str, str | None]

_lines = msgspec.json.Decoder(dict[str, str | None])


class ArchiveWriter:
    """Writes beside the file, and takes its place when all of it is there."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._part = file.with_name(f"{file.name}.part")
        self._part.touch(mode=0o600)
        self._zip = zipfile.ZipFile(self._part, "w", zipfile.ZIP_DEFLATED, compresslevel=6)
        self._member: IO[bytes] | None = None
        self._digest = hashlib.sha256()
        self._rows = 0

    def begin(self, table: str) -> None:
        self._member = self._zip.open(f"{table}.jsonl", "w", force_zip64=True)
        self._digest, self._rows = hashlib.sha256(), 0

    def add(self, lines: Iterable[Line]) -> None:
        text = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
        self._digest.update(text)
        self._rows += text.count(b"\n")
        if self._member is not None:
            self._member.write(text)

    def end(self, columns: Sequence[str]) -> KeptTable:
        if self._member is not None:
            self._member.close()
            self._member = None
        return KeptTable(self._rows, tuple(columns), self._digest.hexdigest())

    def finish(self, manifest: Manifest) -> None:
        self._zip.writestr(MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=2))
        self._zip.close()
        self._part.replace(self._file)

    def give_up(self) -> None:
        if self._member is not None:
            self._member.close()
        self._zip.close()
        self._part.unlink(missing_ok=True)


class ArchiveReader:
    """Errors of everything here: BackupUnusable."""

    def __init__(self, file: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(file)
        except FileNotFoundError:
            raise BackupNotFound(f"There is no file {file.name}.") from None
        except (OSError, zipfile.BadZipFile) as error:
            raise BackupUnusable(f"{file.name} is no archive: {error}.") from error
        self.manifest = self._read_manifest()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def _read_manifest(self) -> Manifest:
        try:
            with self._zip.open(MANIFEST) as member:
                text = member.read(MANIFEST_LIMIT_BYTES)
            format_ = msgspec.json.decode(text).get("format")
            if format_ != FORMAT:
                raise BackupUnusable(
                    f"The archive has format {format_!r}; this version reads {FORMAT}: use the version that wrote it."
                )
            return msgspec.json.decode(text, type=Manifest)
        except (KeyError, AttributeError, msgspec.MsgspecError, zipfile.BadZipFile, zlib.error) as error:
            raise BackupUnusable("The archive has no manifest that can be read.") from error

    def check(self) -> None:
        """Read every line once, and compare with the manifest."""
        for name, kept in self.manifest.tables.items():
            digest, rows = hashlib.sha256(), 0
            for line in self._texts(name):
                digest.update(line)
                rows += 1
                if rows > kept.rows:
                    break
            if (rows, digest.hexdigest()) != (kept.rows, kept.sha256):
                raise BackupUnusable(f"{name} is not what was written: its rows or its digest differ.")

    def batches(self, name: str, *, at_once: int) -> Iterator[list[Line]]:
        batch: list[Line] = []
        columns = set(self.manifest.tables[name].columns)
        for text in self._texts(name):
            try:
                line = _lines.decode(text)
            except msgspec.MsgspecError as error:
                raise BackupUnusable(f"A line of {name} cannot be read.") from error
            if line.keys() != columns:
                raise BackupUnusable(f"A line of {name} has other columns than its manifest says.")
            batch.append(line)
            if len(batch) == at_once:
                yield batch
                batch = []
        if batch:
            yield batch

    def _texts(self, name: str) -> Iterator[bytes]:
        try:
            with self._zip.open(f"{name}.jsonl") as member:
                while line := member.readline(LINE_LIMIT_BYTES):
                    yield line
        except (KeyError, OSError, zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise BackupUnusable(f"{name} cannot be read out of the archive.") from error
