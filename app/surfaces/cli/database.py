"""`portico db`, and Litestar's `database` group: migrations by hand, on the database the settings name."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.infra.db import migrate
from app.infra.db.engine import Database
from app.infra.provider import database_options, embedded_postgres
from app.settings import Settings, find_config, load_dotenv, read_settings


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Database]:
    """Open the settings' database without migrating it, starting our own server where no DSN is set."""
    embedded = None if settings.postgres_dsn else embedded_postgres(settings)
    if embedded is not None:
        await asyncio.to_thread(embedded.acquire)
    database = Database(database_options(settings, embedded.dsn if embedded else settings.postgres_dsn))
    try:
        yield database
    finally:
        await database.aclose()
        if embedded is not None:
            await asyncio.to_thread(embedded.release)


def _settings() -> Settings:
    load_dotenv()
    return read_settings(find_config())


async def upgrade(revision: str = "head") -> None:
    settings = _settings()
    async with opened(settings) as database:
        await migrate.upgrade(database.engine, settings.postgres_schema, revision)
        print(f"at {await migrate.current_revision(database.engine, settings.postgres_schema)}")


async def downgrade(revision: str = "-1") -> None:
    settings = _settings()
    async with opened(settings) as database:
        await migrate.downgrade(database.engine, settings.postgres_schema, revision)
        print(f"at {await migrate.current_revision(database.engine, settings.postgres_schema)}")


async def make_revision(message: str, *, autogenerate: bool) -> None:
    settings = _settings()
    async with opened(settings) as database:
        await migrate.make_revision(database.engine, settings.postgres_schema, message, autogenerate=autogenerate)


async def status() -> None:
    settings = _settings()
    async with opened(settings) as database:
        at, head = await migrate.current_revision(database.engine, settings.postgres_schema), migrate.head_revision()
    print(f"at {at}, this version needs {head}" + ("" if at == head else ": run `portico db upgrade`"))
