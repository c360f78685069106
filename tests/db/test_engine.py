"""The pool under a database that kills connections, says nothing, or is not there."""

import time

import pytest
from sqlalchemy import text

from app.infra.db import engine as engine_module
from app.infra.db.engine import Database, DatabaseOptions, session_of
from app.infra.db.errors import StorageConflict, StorageUnavailable
from tests.conftest import SCHEMA


async def backend_of(database: Database) -> int:
    async with database.begin() as tx:
        found = await session_of(tx).scalar(text("SELECT pg_backend_pid()"))
    assert isinstance(found, int)
    return found


async def terminate(database: Database, pid: int) -> None:
    async with database.begin() as tx:
        await session_of(tx).execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})


async def test_a_connection_killed_in_the_pool_is_replaced(migrated_dsn: str, database: Database) -> None:
    other = Database(DatabaseOptions(dsn=migrated_dsn, schema=SCHEMA, pool_size=1, max_overflow=0))
    killed = await backend_of(other)
    await terminate(database, killed)

    fresh = await backend_of(other)

    assert fresh != killed
    await other.aclose()


async def test_after_a_pause_the_server_itself_is_asked(
    migrated_dsn: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "TRUSTED_IDLE_S", -1)
    other = Database(DatabaseOptions(dsn=migrated_dsn, schema=SCHEMA, pool_size=1, max_overflow=0))
    killed = await backend_of(other)
    await terminate(database, killed)

    fresh = await backend_of(other)

    assert fresh != killed
    await other.aclose()


async def test_a_live_connection_is_used_again(migrated_dsn: str) -> None:
    database = Database(DatabaseOptions(dsn=migrated_dsn, schema=SCHEMA, pool_size=1, max_overflow=0))

    pids = {await backend_of(database) for _ in range(3)}

    assert len(pids) == 1
    await database.aclose()


async def test_a_full_pool_is_storage_that_is_unavailable(migrated_dsn: str) -> None:
    options = DatabaseOptions(dsn=migrated_dsn, schema=SCHEMA, pool_size=1, max_overflow=0, pool_timeout_s=0.1)
    database = Database(options)

    async with database.begin() as held:
        await session_of(held).execute(text("SELECT 1"))
        with pytest.raises(StorageUnavailable) as refused:
            await backend_of(database)

    assert refused.value.headers["retry-after"] == "1"
    await database.aclose()


async def test_who_would_wait_behind_too_many_is_refused_at_once(migrated_dsn: str) -> None:
    options = DatabaseOptions(dsn=migrated_dsn, schema=SCHEMA, pool_size=1, max_overflow=0, max_waiting=0)
    database = Database(options)
    async with database.begin():
        with pytest.raises(StorageUnavailable, match="Too many"):
            async with database.begin():
                pass

    async with database.begin() as tx:
        assert await session_of(tx).scalar(text("SELECT 1")) == 1
    await database.aclose()


async def test_a_database_that_is_not_there_is_unavailable_and_its_password_stays_with_us() -> None:
    database = Database(DatabaseOptions(dsn="postgresql+asyncpg://me:swordfish@127.0.0.1:1/nowhere"))

    with pytest.raises(StorageUnavailable) as refused:
        await database.health()

    assert "swordfish" not in f"{refused.value} {refused.value.evidence} {database.options!r}"
    await database.aclose()


async def test_a_statement_that_runs_too_long_is_stopped(migrated_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "STATEMENT_TIMEOUT_S", 0.2)
    database = Database(DatabaseOptions(dsn=migrated_dsn, schema=SCHEMA))
    started_s = time.monotonic()

    with pytest.raises(StorageUnavailable):
        async with database.begin() as tx:
            await session_of(tx).execute(text("SELECT pg_sleep(30)"))

    assert time.monotonic() - started_s < 15
    await database.aclose()


async def test_what_contradicts_the_stored_is_a_conflict(database: Database) -> None:
    with pytest.raises(StorageConflict):
        async with database.begin() as tx:
            await session_of(tx).execute(
                text("INSERT INTO messages (chat_id, role, content, status) VALUES (9,'user','x','complete')")
            )


async def test_a_bug_passes_as_it_is(database: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        async with database.begin():
            _ = 1 / 0


async def test_a_block_that_raises_leaves_nothing_behind(database: Database) -> None:
    async def add_and_fail() -> None:
        async with database.begin() as tx:
            await session_of(tx).execute(text("INSERT INTO chats (user_id, metadata) VALUES ('1', '{}')"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await add_and_fail()

    async with database.begin() as tx:
        assert await session_of(tx).scalar(text("SELECT count(*) FROM chats")) == 0


async def test_a_strangers_transaction_is_refused() -> None:
    with pytest.raises(TypeError):
        session_of(object())
