"""How Alembic meets our database. Run by Alembic, in three ways:

- by `app/infra/db/migrate.py`, which hands in a connection and a schema (every start of the program);
- by the `alembic` and `litestar database` commands, which do not: where the database is comes from the settings;
- with `--sql`, which prints statements and needs no database.

Only our own schema is looked at and changed; the table of versions lives in it too.
"""

import asyncio
from typing import Literal

from advanced_alchemy.types import DateTimeUTC
from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import Connection

from app.infra.db.base import Base
from app.infra.db.embedded.postgres import EmbeddedPostgres
from app.infra.db.engine import DatabaseOptions, make_engine
from app.infra.db.migrate import alone_in_schema
from app.migrations.known import TABLES as TABLES  # noqa: PLC0414 - imported so that the metadata knows them
from app.settings import Settings, find_config, load_dotenv, read_settings


def render_type(kind: str, item: object, _context: AutogenContext) -> str | Literal[False]:
    """Write advanced-alchemy's time type as what it is in the database, so that migrations outlive its module."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, DateTimeUTC) else False


def migrate_on(connection: Connection, schema: str) -> None:
    # what Alembic reads from the database has no schema in its name then, like our tables
    connection.dialect.default_schema_name = schema
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_server_default=True,
        render_item=render_type,
    )
    with context.begin_transaction():
        context.run_migrations()


def migrate_alone_on(connection: Connection, schema: str) -> None:
    with alone_in_schema(connection, schema):
        migrate_on(connection, schema)


async def migrate_by_settings(settings: Settings) -> None:
    embedded = None if settings.postgres_dsn else EmbeddedPostgres(settings.data_dir / "postgres")
    if embedded is not None:
        embedded.acquire()
    dsn = settings.postgres_dsn if embedded is None else embedded.dsn
    engine = make_engine(DatabaseOptions(dsn=dsn, schema=settings.postgres_schema))
    try:
        async with engine.connect() as connection:
            await connection.run_sync(migrate_alone_on, settings.postgres_schema)
    finally:
        await engine.dispose()
        if embedded is not None:
            embedded.release()


def print_statements(schema: str) -> None:
    context.configure(dialect_name="postgresql", target_metadata=Base.metadata, literal_binds=True)
    with context.begin_transaction():
        context.execute(f'SET LOCAL search_path TO "{schema}"')
        context.run_migrations()


def run() -> None:
    connection = context.config.attributes.get("connection")
    if connection is not None:
        migrate_on(connection, context.config.attributes["schema"])
        return
    load_dotenv()
    settings = read_settings(find_config())
    if context.is_offline_mode():
        print_statements(settings.postgres_schema)
    else:
        asyncio.run(migrate_by_settings(settings))


run()
