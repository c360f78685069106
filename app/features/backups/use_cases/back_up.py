"""Make a backup in the gateway's own folder, and tell which there are."""

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.agents.contract import AgentDirectory
from app.features.backups.domain.backup import MAX_KEPT, NAME, Manifest, TooManyBackups
from app.features.backups.ports import BackupStore
from app.features.backups.use_cases.access import refuse_others
from app.kernel.audit import Act, AuditTrail
from app.kernel.clock import Clock
from app.kernel.identity import Principal
from app.kernel.transaction import Begin


@dataclass(frozen=True, slots=True)
class Backup:
    """`manifest` is None where it was not looked into."""

    name: str
    size_bytes: int
    manifest: Manifest | None = None


@dataclass(frozen=True, slots=True)
class BackUp:
    """Errors: Forbidden, BackupByAgent, TooManyBackups, BackupBusy."""

    begin: Begin
    store: BackupStore
    agents: AgentDirectory
    audit: AuditTrail
    clock: Clock
    folder: Path

    async def __call__(self, who: Principal) -> Backup:
        refuse_others(who)
        if len(await asyncio.to_thread(_found, self.folder)) >= MAX_KEPT:
            raise TooManyBackups(f"There are {MAX_KEPT} in {self.folder.name}/ of the data folder: take some away.")
        await asyncio.to_thread(self.folder.mkdir, mode=0o700, parents=True, exist_ok=True)
        file = self.folder / f"portico-{self.clock.now():%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}.zip"
        manifest = await self.store.save(file, agents=[card.name for card in self.agents.cards()])
        rows = sum(table.rows for table in manifest.tables.values())
        async with self.begin() as tx:
            await self.audit.record(tx, Act.of(who, "backup.made", file.name, rows=rows))
        size = await asyncio.to_thread(file.stat)
        return Backup(file.name, size.st_size, manifest)


@dataclass(frozen=True, slots=True)
class ListBackups:
    """List the newest first. Errors: Forbidden, BackupByAgent."""

    folder: Path

    async def __call__(self, who: Principal) -> Sequence[Backup]:
        refuse_others(who)
        return await asyncio.to_thread(_found, self.folder)


def _found(folder: Path) -> Sequence[Backup]:
    if not folder.is_dir():
        return ()
    files = [file for file in folder.iterdir() if NAME.fullmatch(file.name)]
    return [Backup(file.name, file.stat().st_size) for file in sorted(files, reverse=True)]
