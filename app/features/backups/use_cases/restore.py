"""Bring a backup back."""

from dataclasses import dataclass
from pathlib import Path

from app.agents.contract import AgentDirectory
from app.features.backups.domain.backup import NAME, BackupNotFound, Restored
from app.features.backups.ports import BackupStore
from app.features.backups.use_cases.access import refuse_others
from app.kernel.audit import Act, AuditTrail
from app.kernel.identity import Principal
from app.kernel.transaction import Begin


@dataclass(frozen=True, slots=True)
class Restore:
    """Put in what is in an archive and not here; what is here stays. Agents are files, and are only named.

    Errors: Forbidden, BackupByAgent, BackupNotFound, BackupUnusable, BackupOfOthers, BackupBusy.
    """

    begin: Begin
    store: BackupStore
    agents: AgentDirectory
    audit: AuditTrail
    folder: Path

    async def __call__(self, who: Principal, name: str) -> Restored:
        refuse_others(who)
        if not NAME.fullmatch(name):
            raise BackupNotFound("The name of a backup is one that list_backups tells.")
        file = self.folder / name
        manifest = await self.store.look(file)
        tables = await self.store.bring_back(file)
        restored = sum(table.restored for table in tables.values())
        async with self.begin() as tx:
            await self.audit.record(tx, Act.of(who, "backup.restored", name, rows=restored))
        here = {card.name for card in self.agents.cards()}
        missing = tuple(name for name in manifest.agents if name not in here)
        return Restored(manifest.made_at, tables, missing)
