"""Migrations on a real PostgreSQL, each test in a schema of its own."""

import asyncio
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from app.infra.db.base import Base
from app.infra.db.engine import Database, DatabaseOptions
from app.infra.db.migrate import MIGRATIONS, alone_in_schema, current_revision, downgrade, head_revision, upgrade
from app.migrations.known import TABLES

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
async def fresh(database_dsn: str) -> AsyncIterator[Database]:
    database = Database(DatabaseOptions(dsn=database_dsn, schema=f"fresh_{uuid.uuid4().hex}"))
    yield database
    async with database.engine.begin() as connection:
        await connection.execute(text(f'DROP SCHEMA IF EXISTS "{database.options.schema}" CASCADE'))
    await database.aclose()


async def table_names(database: Database) -> set[str]:
    def read(connection: Connection) -> set[str]:
        return set(inspect(connection).get_table_names(schema=database.options.schema))

    async with database.engine.connect() as connection:
        return await connection.run_sync(read)


def test_every_module_with_tables_is_known() -> None:
    sources = {path: path.read_text("utf-8") for path in (ROOT / "app").rglob("*.py")}
    with_tables = {path for path, source in sources.items() if "    __tablename__ = " in source}

    assert {Path(str(module.__file__)) for module in TABLES} == with_tables - {ROOT / "app/infra/db/base.py"}


async def test_each_migration_goes_up_down_and_up(fresh: Database) -> None:
    schema = fresh.options.schema
    revisions = [script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions()][::-1]

    for revision in revisions:
        await upgrade(fresh.engine, schema, revision)
        after_first = await table_names(fresh)
        await downgrade(fresh.engine, schema)
        await upgrade(fresh.engine, schema, revision)

        assert await table_names(fresh) == after_first
        assert await current_revision(fresh.engine, schema) == revision
    assert revisions[-1] == head_revision()


async def test_going_all_the_way_down_leaves_nothing_but_the_versions(fresh: Database) -> None:
    await upgrade(fresh.engine, fresh.options.schema)

    await downgrade(fresh.engine, fresh.options.schema, "base")

    assert await table_names(fresh) == {"alembic_version"}
    assert await current_revision(fresh.engine, fresh.options.schema) is None


async def test_tables_and_migrations_say_the_same(fresh: Database) -> None:
    schema = fresh.options.schema
    await upgrade(fresh.engine, schema)

    def differences(connection: Connection) -> list[object]:
        with alone_in_schema(connection, schema):
            connection.dialect.default_schema_name = schema
            options = {"compare_type": True, "compare_server_default": True}
            return list(compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata))

    async with fresh.engine.connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_replicas_that_start_together_do_not_race(fresh: Database) -> None:
    replicas = [Database(fresh.options) for _ in range(5)]

    await asyncio.gather(*(upgrade(replica.engine, fresh.options.schema) for replica in replicas))

    assert await current_revision(fresh.engine, fresh.options.schema) == head_revision()
    for replica in replicas:
        await replica.aclose()


async def test_a_migration_leaves_its_connection_as_it_was(fresh: Database) -> None:
    show = text("SELECT current_setting('search_path'), current_setting('statement_timeout')")
    async with fresh.engine.connect() as connection:
        before = (await connection.execute(show)).one()

    await upgrade(fresh.engine, fresh.options.schema)

    async with fresh.engine.connect() as connection:
        assert (await connection.execute(show)).one() == before
        locks = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
        assert await connection.scalar(locks) == 0


async def test_another_programs_versions_in_public_are_not_taken_for_ours(fresh: Database) -> None:
    async with fresh.engine.begin() as connection:
        await connection.execute(text("CREATE TABLE public.alembic_version (version_num varchar(32) PRIMARY KEY)"))
        await connection.execute(text("INSERT INTO public.alembic_version VALUES ('somebody_elses')"))

    try:
        await upgrade(fresh.engine, fresh.options.schema)

        assert await current_revision(fresh.engine, fresh.options.schema) == head_revision()
    finally:
        async with fresh.engine.begin() as connection:
            await connection.execute(text("DROP TABLE public.alembic_version"))


async def alembic(*arguments: str, dsn: str, schema: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": "/usr/bin:/bin",
        "POSTGRES_DSN": dsn,
        "POSTGRES_SCHEMA": schema,
        "JWT_JWKS_URL": "http://127.0.0.1:9/jwks.json",
        "AUTH_SERVICE_URL": "http://127.0.0.1:9",
        "AGENDA_SERVICE_URL": "http://127.0.0.1:9",
        "SNAPSHOT_SERVICE_URL": "http://127.0.0.1:9",
    }
    command = [sys.executable, "-m", "alembic", *arguments]
    return await asyncio.to_thread(
        subprocess.run, command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


async def test_alembics_own_command_line_migrates_the_database_of_the_settings(fresh: Database) -> None:
    schema = fresh.options.schema

    done = await alembic("upgrade", "head", dsn=fresh.options.dsn, schema=schema)

    assert done.returncode == 0, done.stderr
    assert await current_revision(fresh.engine, schema) == head_revision()


@pytest.mark.soak
async def test_alembic_prints_the_statements_without_a_database() -> None:
    done = await alembic("upgrade", "head", "--sql", dsn="postgresql+asyncpg://nobody@127.0.0.1:9/none", schema="sales")

    assert done.returncode == 0, done.stderr
    assert 'SET LOCAL search_path TO "sales"' in done.stdout
    assert "CREATE TABLE chats" in done.stdout
