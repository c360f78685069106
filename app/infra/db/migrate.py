"""Bring a database to the schema this version needs, once, however many replicas start at the same time.

An advisory lock lets one of them migrate; the others wait and find nothing to do. Migrations live in `app/migrations`,
whose `env.py` meets the connection that is handed in here, or takes the same lock when Alembic's own commands run it.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.infra.db.errors import translated

MIGRATIONS = Path(__file__).parent.parent.parent / "migrations"
# also the bound of each statement of a migration
LOCK_WAIT_S = 120
FILE_TEMPLATE = "%(year)d%(month).2d%(day).2d_%(slug)s"


def alembic_config(schema: str, connection: Connection | None = None) -> Config:
    """Build what Alembic needs in memory; `alembic.ini` is for its own command line only."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.set_main_option("file_template", FILE_TEMPLATE.replace("%", "%%"))
    config.attributes["schema"] = schema
    config.attributes["connection"] = connection
    return config


async def upgrade(engine: AsyncEngine, schema: str, revision: str = "head") -> None:
    """Errors: StorageUnavailable, also when another replica migrates for longer than `LOCK_WAIT_S`."""
    await _run(engine, schema, lambda config: command.upgrade(config, revision))


async def downgrade(engine: AsyncEngine, schema: str, revision: str = "-1") -> None:
    """Errors: StorageUnavailable."""
    await _run(engine, schema, lambda config: command.downgrade(config, revision))


async def make_revision(engine: AsyncEngine, schema: str, message: str, *, autogenerate: bool) -> None:
    """Write a new file into `app/migrations/versions`. Errors: StorageUnavailable."""

    def act(config: Config) -> None:
        command.revision(config, message=message, autogenerate=autogenerate)

    await _run(engine, schema, act)


async def current_revision(engine: AsyncEngine, schema: str) -> str | None:
    """Tell the revision the database is at; None before the first migration. Errors: StorageUnavailable."""

    def read(connection: Connection) -> str | None:
        return MigrationContext.configure(connection, opts={"version_table_schema": schema}).get_current_revision()

    with translated():
        async with engine.connect() as connection:
            return await connection.run_sync(read)


def head_revision() -> str | None:
    """Tell the revision this version of the program needs."""
    return ScriptDirectory(str(MIGRATIONS)).get_current_head()


@contextmanager
def alone_in_schema(connection: Connection, schema: str) -> Iterator[None]:
    """Hold the schema's migration lock, with the schema made if need be and nothing else in sight.

    The connection is as before afterwards, so that it may go back to its pool.
    """
    key = int.from_bytes(hashlib.sha256(f"portico migrations {schema}".encode()).digest()[:8], "big", signed=True)
    # a migration may take longer than a request's statement, and waiting for a neighbour's migration too
    _set(connection, "statement_timeout", f"{LOCK_WAIT_S}s")
    connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": key})
    connection.commit()
    try:
        connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{schema}"'))
        # without "public": what lives there is neither compared with our tables nor mistaken for them
        _set(connection, "search_path", f'"{schema}"')
        connection.commit()
        yield
        connection.commit()
    finally:
        connection.rollback()
        connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": key})
        connection.execute(text("RESET search_path"))
        connection.execute(text("RESET statement_timeout"))
        connection.commit()


async def _run(engine: AsyncEngine, schema: str, act: Callable[[Config], None]) -> None:
    def act_alone(connection: Connection) -> None:
        with alone_in_schema(connection, schema):
            act(alembic_config(schema, connection))

    with translated():
        async with engine.connect() as connection:
            await connection.run_sync(act_alone)


def _set(connection: Connection, name: str, value: str) -> None:
    connection.execute(text("SELECT set_config(:name, :value, false)"), {"name": name, "value": value})
