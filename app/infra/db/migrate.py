"""Bring a database to the schema this version needs, once, however many replicas start at the same time.

An advisory lock lets one of them migrate; the others wait and find nothing to do. Migrations live in `app/migrations`.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

MIGRATIONS = Path(__file__).parent.parent.parent / "migrations"
LOCK_WAIT_S = 120


def alembic_config(schema: str, connection: Connection | None = None) -> Config:
    """Build what Alembic needs in memory; `alembic.ini` is for its own command line only."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.attributes["schema"] = schema
    config.attributes["connection"] = connection
    return config


async def upgrade(engine: AsyncEngine, schema: str, revision: str = "head") -> None:
    await _locked(engine, schema, lambda config: command.upgrade(config, revision))


async def downgrade(engine: AsyncEngine, schema: str, revision: str = "-1") -> None:
    await _locked(engine, schema, lambda config: command.downgrade(config, revision))


async def make_revision(engine: AsyncEngine, schema: str, message: str, *, autogenerate: bool) -> None:
    await _locked(engine, schema, lambda config: _revision(config, message, autogenerate=autogenerate))


async def current_revision(engine: AsyncEngine) -> str | None:
    """Tell the revision the database is at; None before the first migration."""
    async with engine.connect() as connection:
        return await connection.run_sync(lambda sync: MigrationContext.configure(sync).get_current_revision())


def head_revision() -> str | None:
    """Tell the revision this version of the program needs."""
    return ScriptDirectory(str(MIGRATIONS)).get_current_head()


def _revision(config: Config, message: str, *, autogenerate: bool) -> None:
    command.revision(config, message=message, autogenerate=autogenerate)


async def _locked(engine: AsyncEngine, schema: str, act: Callable[[Config], None]) -> None:
    async with engine.connect() as connection:
        await connection.run_sync(lambda sync: _act_locked(sync, schema, act))


def _act_locked(connection: Connection, schema: str, act: Callable[[Config], None]) -> None:
    key = int.from_bytes(hashlib.sha256(f"portico migrations {schema}".encode()).digest()[:8], "big", signed=True)
    # a migration may take longer than a request's statement, and waiting for a neighbour's migration too
    connection.execute(text("SELECT set_config('statement_timeout', :ms, false)"), {"ms": str(LOCK_WAIT_S * 1000)})
    connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": key})
    connection.commit()
    try:
        connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{schema}"'))
        connection.commit()
        act(alembic_config(schema, connection))
        connection.commit()
    finally:
        connection.rollback()
        connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": key})
        connection.execute(text("RESET statement_timeout"))
        connection.commit()
