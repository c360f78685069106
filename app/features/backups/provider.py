"""What the slice adds to the container. It asks others for `Settings`, `Begin`, agents and the audit."""

from pathlib import Path

from dishka import Provider, Scope, provide

from app.agents.contract import AgentDirectory
from app.features.backups.ports import BackupStore
from app.features.backups.repository.store import PostgresBackups
from app.features.backups.use_cases.back_up import BackUp, ListBackups
from app.features.backups.use_cases.restore import Restore
from app.kernel.audit import AuditTrail
from app.kernel.clock import Clock
from app.kernel.transaction import Begin
from app.settings import Settings

FOLDER = "backups"


class BackupsProvider(Provider):
    scope = Scope.APP

    @provide
    def store(self, begin: Begin, clock: Clock) -> BackupStore:
        return PostgresBackups(begin, clock)

    @provide
    def back_up(
        self,
        begin: Begin,
        store: BackupStore,
        agents: AgentDirectory,
        audit: AuditTrail,
        clock: Clock,
        settings: Settings,
    ) -> BackUp:
        return BackUp(begin, store, agents, audit, clock, _folder(settings))

    @provide
    def list_backups(self, settings: Settings) -> ListBackups:
        return ListBackups(_folder(settings))

    @provide
    def restore(
        self, begin: Begin, store: BackupStore, agents: AgentDirectory, audit: AuditTrail, settings: Settings
    ) -> Restore:
        return Restore(begin, store, agents, audit, _folder(settings))


def _folder(settings: Settings) -> Path:
    return settings.data_dir / FOLDER
