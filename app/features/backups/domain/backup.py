"""What a backup says of itself, what came of bringing one back, and what can be wrong with either."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from msgspec import Struct

from app.kernel.errors import Conflict, Forbidden, Malformed, NotFound

FORMAT = 1
"""counted up when an archive is written that this version could not read"""
MAX_KEPT = 50
"""archives in the folder of the gateway; who makes one more is told to take some away"""
NAME = re.compile(r"portico-[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}\.zip")


class KeptTable(Struct, frozen=True):
    """`sha256` is of the table's lines as they stand in the archive, in hexadecimal."""

    rows: int
    columns: tuple[str, ...]
    sha256: str


class Manifest(Struct, frozen=True):
    """`revision` is of the database's tables; `agents` are the names of those there were, which are files, not rows."""

    format: int
    made_at: datetime
    revision: str
    tables: Mapping[str, KeptTable]
    agents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Brought:
    """What became of a table's rows: `same` were there as they are in the archive, `newer` were changed since."""

    restored: int = 0
    same: int = 0
    newer: int = 0


@dataclass(frozen=True, slots=True)
class Restored:
    """`missing_agents` are named by the archive, and not here."""

    made_at: datetime
    tables: Mapping[str, Brought] = field(default_factory=dict)
    missing_agents: tuple[str, ...] = ()


class BackupNotFound(NotFound):
    type = "backup-not-found"
    title = "There is no such backup"


class BackupUnusable(Malformed):
    type = "backup-unusable"
    title = "The backup cannot be used"


class BackupOfOthers(Conflict):
    type = "backup-of-others"
    title = "The backup is of another database, whose ids are taken here"


class BackupBusy(Conflict):
    type = "backup-busy"
    title = "A backup is being made or brought back"


class TooManyBackups(Conflict):
    type = "too-many-backups"
    title = "Too many backups are kept"


class BackupByAgent(Forbidden):
    type = "backup-by-agent"
    title = "Agents make no backups, and bring none back"
