"""`portico backup FILE` and `portico restore FILE`: the archives of the MCP tools, at any path."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from app.agents.factory import AgentFactory
from app.features.backups.domain.backup import Brought
from app.features.backups.repository.store import PostgresBackups
from app.infra.db import migrate
from app.infra.db.engine import Database
from app.kernel.clock import SystemClock
from app.kernel.errors import Fault
from app.settings import Settings, find_config, load_dotenv, read_settings
from app.surfaces.cli.command_failed import CommandFailed
from app.surfaces.cli.database import opened


async def save(file: Path) -> None:
    """Errors: CommandFailed."""
    settings = _settings()
    if await asyncio.to_thread(file.exists):
        raise CommandFailed(f"{file} is there already; name another file, or take it away")
    agents = AgentFactory.discover(folder=settings.agents_dir).agents
    async with opened(settings) as database:
        await _refuse_other_revision(database, settings)
        try:
            manifest = await PostgresBackups(database.begin, SystemClock()).save(file, agents=list(agents))
        except (OSError, Fault) as error:
            raise CommandFailed(f"{file}: {error}") from error
    rows = ", ".join(f"{table.rows} {name}" for name, table in manifest.tables.items())
    print(f"wrote {file}: {rows}")


async def bring_back(file: Path) -> None:
    """Errors: CommandFailed."""
    settings = _settings()
    async with opened(settings) as database:
        await _refuse_other_revision(database, settings)
        store = PostgresBackups(database.begin, SystemClock())
        try:
            manifest = await store.look(file)
            brought = await store.bring_back(file)
        except Fault as fault:
            raise CommandFailed(f"{file}: {fault}") from fault
    print(_words(brought))
    missing = set(manifest.agents) - AgentFactory.discover(folder=settings.agents_dir).agents.keys()
    if missing:
        print(f"these agents are not here: {', '.join(sorted(missing))}")


def _words(brought: Mapping[str, Brought]) -> str:
    lines = [
        f"{name}: {one.restored} restored, {one.same} were there, {one.newer} were changed since and stay"
        for name, one in brought.items()
    ]
    return "\n".join([*lines, "secrets of webhooks are in no backup: rotate those of the tasks that came back"])


async def _refuse_other_revision(database: Database, settings: Settings) -> None:
    """Errors: CommandFailed."""
    at, head = await migrate.current_revision(database.engine, settings.postgres_schema), migrate.head_revision()
    if at != head:
        raise CommandFailed(f"the database is at {at}, this version needs {head}: run `portico db upgrade`")


def _settings() -> Settings:
    load_dotenv()
    return read_settings(find_config())
