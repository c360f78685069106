"""Statements on the driver's own connection: what they take and give, and what becomes of the connection."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import JSON, BigInteger, bindparam, column, func, literal, select, text

from app.infra.db import engine as engine_module
from app.infra.db.engine import Database, DatabaseOptions, rows_of, session_of, statements_of
from app.infra.db.errors import StorageConflict, StorageUnavailable
from tests.conftest import SCHEMA

ONE = text("SELECT CAST(:a AS bigint) AS a, CAST(:b AS text) AS b, CAST(:a AS bigint) + 1 AS next")
MANY = text("SELECT n FROM generate_series(1, CAST(:most AS integer)) AS g(n) ORDER BY n")
PID = text("SELECT pg_backend_pid() AS pid")


@pytest.fixture
async def alone(migrated_dsn: str) -> AsyncIterator[Database]:
    """A pool of one connection."""
    options = DatabaseOptions(migrated_dsn, schema=SCHEMA, pool_size=1, max_overflow=0, pool_timeout_s=5)
    database = Database(options)
    yield database
    await database.aclose()


async def pid_of(database: Database) -> int:
    async with database.statements() as statements:
        return int((await statements.execute(PID)).scalar_one())


async def test_rows_are_read_by_name_and_by_position(database: Database) -> None:
    async with database.statements() as statements:
        row = (await statements.execute(ONE, {"b": "x", "a": 1})).one()

    assert (row.a, row.b, row.next) == tuple(row) == (1, "x", 2)
    with pytest.raises(AttributeError, match="nothing"):
        _ = row.nothing


async def test_rows_say_how_many_they_are(database: Database) -> None:
    async with database.statements() as statements:
        three = await statements.execute(MANY, {"most": 3})
        none = await statements.execute(MANY, {"most": 0})

    assert [row.n for row in three] == [row.n for row in three.all()] == [1, 2, 3]
    first = three.first()
    assert first is not None
    assert first.n == 1
    assert (none.first(), none.scalar_one_or_none(), none.all()) == (None, None, [])
    for ask in (three.one, three.scalar_one, three.scalar_one_or_none, none.one, none.scalar_one):
        with pytest.raises(RuntimeError, match="where there should be one"):
            ask()


async def test_what_is_written_with_sqlalchemy_is_taken_with_the_values_it_brings(database: Database) -> None:
    doubled = bindparam("n", type_=BigInteger()) * literal(2, BigInteger())
    asked = select(doubled.label("doubled"), func.lower("A").label("low")).limit(bindparam("most", 5))
    async with database.statements() as statements:
        row = (await statements.execute(asked, {"n": 4})).one()

    assert (row.doubled, row.low) == (8, "a")


async def test_a_value_that_is_missing_or_not_the_drivers_is_a_bug(database: Database) -> None:
    async with database.statements() as statements:
        with pytest.raises(KeyError):
            await statements.execute(ONE, {"a": 1})
        with pytest.raises(TypeError, match="not the driver's"):
            await statements.execute(select(bindparam("document", type_=JSON())), {"document": {}})
        with pytest.raises(TypeError, match="not the driver's"):
            await statements.execute(select(column("n")).where(column("n").in_([1, 2])))
        with pytest.raises(asyncpg.DataError, match="invalid input"):
            await statements.execute(ONE, {"a": "no number", "b": ""})


async def test_each_is_a_transaction_of_its_own(database: Database) -> None:
    put = text("INSERT INTO run_signals (run_id, key) VALUES (:run, :key)")
    async with database.statements() as statements:
        with pytest.raises(StorageConflict):
            async with database.statements() as other:
                await other.execute(put, {"run": uuid4(), "key": "of a run that is not there"})
        ids = [(await statements.execute(text("SELECT txid_current()"))).scalar_one() for _ in range(2)]

    assert ids[0] != ids[1]


async def test_a_connection_goes_back_and_is_used_again(alone: Database) -> None:
    assert len({await pid_of(alone) for _ in range(3)}) == 1


async def test_a_connection_that_rested_is_asked_before_it_is_used(
    alone: Database, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "TRUSTED_IDLE_S", -1)
    killed = await pid_of(alone)
    async with database.statements() as statements:
        await statements.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": killed})

    assert await pid_of(alone) != killed


async def test_who_is_cancelled_leaves_no_answer_to_the_next(alone: Database) -> None:
    async def wait() -> None:
        async with alone.statements() as statements:
            await statements.execute(text("SELECT pg_sleep(60)"))

    before = await pid_of(alone)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(wait())
        await asyncio.sleep(0.2)
        waiting.cancel()

    assert await pid_of(alone) != before


async def test_a_connection_that_was_killed_is_storage_that_is_unavailable_and_then_replaced(
    alone: Database, database: Database
) -> None:
    async def ask_when_killed() -> None:
        async with alone.statements() as statements, database.statements() as other:
            killed = (await statements.execute(PID)).scalar_one()
            await other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": killed})
            await statements.execute(PID)

    killed = await pid_of(alone)
    with pytest.raises(StorageUnavailable):
        await ask_when_killed()

    assert await pid_of(alone) != killed


async def test_what_takes_too_long_is_storage_that_is_unavailable(alone: Database) -> None:
    async def ask_for_long() -> None:
        async with alone.statements() as statements:
            await statements.execute(text("SET statement_timeout = 50"))
            await statements.execute(text("SELECT pg_sleep(60)"))

    with pytest.raises(StorageUnavailable):
        await ask_for_long()


async def test_a_look_gives_statements_or_a_session_and_a_transaction_only_this(database: Database) -> None:
    async with database.look() as look:
        assert (await statements_of(look).execute(PID)).scalar_one()
        assert [tuple(row) for row in await rows_of(look, ONE, {"a": 1, "b": ""})] == [(1, "", 2)]
    async with database.look() as look:
        assert await session_of(look).scalar(PID)
    async with database.begin() as tx:
        assert [tuple(row) for row in await rows_of(tx, ONE, {"a": 1, "b": ""})] == [(1, "", 2)]
        with pytest.raises(TypeError, match="need a look"):
            statements_of(tx)
