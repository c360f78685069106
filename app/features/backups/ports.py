"""What the use cases of backups ask of the outside."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from app.features.backups.domain.backup import Brought, Manifest


class BackupStore(Protocol):
    async def save(self, file: Path, *, agents: Sequence[str]) -> Manifest:
        """Write everything that is kept into a new archive, as it is at one moment.

        Cost: memory for some hundred rows, whatever there is; a transaction that reads for as long as it takes.
        Errors: BackupBusy, StorageUnavailable, OSError.
        """
        ...

    async def look(self, file: Path) -> Manifest:
        """Read all of an archive, and see that it is what its manifest says. Errors: BackupUnusable, BackupNotFound."""
        ...

    async def bring_back(self, file: Path) -> Mapping[str, Brought]:
        """Put in every row that is not there, in one transaction; those that are there stay what they are.

        Errors: BackupUnusable, BackupOfOthers (then nothing was changed), BackupBusy, StorageUnavailable.
        """
        ...
