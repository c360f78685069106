"""Backups: made in the folder of the gateway, listed, brought back. For admins."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from app.features.backups.domain.backup import Brought
from app.features.backups.use_cases.back_up import BackUp, Backup, ListBackups
from app.features.backups.use_cases.restore import Restore
from app.kernel.identity import Access
from app.surfaces.mcp.tool import Asking, McpTool, Nothing


class BackupName(Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(max_length=255, description="A backup's name, as list_backups tells it")]


class BackupOut(Struct, frozen=True):
    """`rows` by table and `made_at` are null where the archive was not looked into."""

    name: str
    size_bytes: int
    made_at: datetime | None = None
    rows: Mapping[str, int] | None = None

    @classmethod
    def of(cls, backup: Backup) -> "BackupOut":
        manifest = backup.manifest
        if manifest is None:
            return cls(backup.name, backup.size_bytes)
        rows = {name: table.rows for name, table in manifest.tables.items()}
        return cls(backup.name, backup.size_bytes, manifest.made_at, rows)


class BackupsOut(Struct, frozen=True):
    items: Sequence[BackupOut]


class RestoredOut(Struct, frozen=True):
    made_at: datetime
    tables: Mapping[str, Brought]
    missing_agents: Sequence[str]
    hint: str = "Secrets of webhooks are in no backup: rotate those of the tasks that came back."


@dataclass(frozen=True, slots=True)
class BackupTools:
    back_up: BackUp
    list_backups: ListBackups
    restore: Restore

    def tools(self) -> Sequence[McpTool]:
        return (
            McpTool(
                "backup",
                "Write every chat, message, task and finished run into an archive on the gateway's disk.",
                Nothing,
                self._back_up,
                access=Access.ADMIN,
            ),
            McpTool(
                "list_backups",
                "List the archives on the gateway's disk.",
                Nothing,
                self._list,
                access=Access.ADMIN,
                reads_only=True,
            ),
            McpTool(
                "restore",
                "Bring back what is in an archive and not there any more; what is there stays as it is.",
                BackupName,
                self._restore,
                access=Access.ADMIN,
            ),
        )

    async def _back_up(self, asking: Asking, _: Nothing) -> BackupOut:
        return BackupOut.of(await self.back_up(asking.who))

    async def _list(self, asking: Asking, _: Nothing) -> BackupsOut:
        return BackupsOut([BackupOut.of(one) for one in await self.list_backups(asking.who)])

    async def _restore(self, asking: Asking, given: BackupName) -> RestoredOut:
        found = await self.restore(asking.who, given.name)
        return RestoredOut(found.made_at, found.tables, found.missing_agents)
