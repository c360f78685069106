"""Fixtures every folder may use: a real PostgreSQL, started once, and a clean database in it for each test."""

import asyncio
import functools
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx._transports.default
import httpx2._transports.default
import pytest
import structlog
from hypothesis import settings
from pydantic_ai import models
from sqlalchemy import text
from structlog.dev import plain_traceback

from app.infra.db.base import Base
from app.infra.db.embedded.errors import BinariesMissing
from app.infra.db.embedded.postgres import EmbeddedPostgres
from app.infra.db.engine import Database, DatabaseOptions
from app.infra.db.migrate import upgrade
from app.kernel.shared_use import has_owner
from app.migrations.known import TABLES as TABLES  # noqa: PLC0414 - imported so that the metadata knows them

settings.register_profile("unhurried", deadline=None)  # the machine may be busy with something else
settings.load_profile("unhurried")
os.environ.setdefault("SANDBOX", "off")  # a test that runs programs brings a sandbox; others need not look for one
# each client reads every authority there is, which takes 35 to 60 ms, and asks nobody who has a certificate of one
for client_library in (httpx, httpx2):
    transport = client_library._transports.default
    transport.create_ssl_context = functools.cache(transport.create_ssl_context)
models.ALLOW_MODEL_REQUESTS = False  # a test that means to ask a model says so

SCHEMA = "portico"
STOP_WAIT_S = 10


# until a gateway says otherwise; structlog's own way to show an exception draws every local, for half a minute
structlog.configure(
    processors=[structlog.stdlib.add_log_level, structlog.dev.ConsoleRenderer(exception_formatter=plain_traceback)]
)


@pytest.fixture(autouse=True)
def _every_log_line() -> None:
    """A gateway of another test may have set a level for the whole process; one that reads the log wants it all."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(0))


@pytest.fixture(scope="session")
def database_dsn() -> Iterator[str]:
    """An empty database that only this test process uses; every pytest-xdist worker has its own."""
    # not under pytest's own temporary folder, which is closed to the account the server runs as when we are root
    home = Path(tempfile.mkdtemp(prefix="portico-test-"))
    home.chmod(0o711)
    server = EmbeddedPostgres(home / "postgres", database=f"test_{os.environ.get('PYTEST_XDIST_WORKER', 'alone')}")
    try:
        server.acquire()
    except BinariesMissing as missing:
        shutil.rmtree(home, ignore_errors=True)
        pytest.skip(f"no PostgreSQL to test with: {missing}")
    yield server.dsn
    server.release()
    end = time.monotonic() + STOP_WAIT_S
    while has_owner(home / "postgres" / "watch.lock") and time.monotonic() < end:  # its files are in use until then
        time.sleep(0.02)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def migrated_dsn(database_dsn: str) -> str:
    async def migrate() -> None:
        database = Database(DatabaseOptions(dsn=database_dsn, schema=SCHEMA))
        await upgrade(database.engine, SCHEMA)
        await database.aclose()

    asyncio.run(migrate())
    return database_dsn


@pytest.fixture
async def database(migrated_dsn: str) -> AsyncIterator[Database]:
    """Every table is empty and every id starts at 1."""
    database = Database(DatabaseOptions(dsn=migrated_dsn, schema=SCHEMA))
    tables = ", ".join(table.name for table in Base.metadata.sorted_tables)
    async with database.engine.begin() as connection:
        # the audit takes nothing back: not even from us, but for one who is no client
        await connection.execute(text("SET LOCAL session_replication_role = replica"))
        await connection.execute(text(f"TRUNCATE {tables} RESTART IDENTITY CASCADE"))
    yield database
    await database.aclose()
