"""Which runs live, as every front door reads it; and what becomes of keys that nobody withdrew."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from app.edge.live_runs import LiveRuns
from app.infra.db.engine import Database
from app.infra.db.errors import StorageUnavailable
from app.infra.durable import live_tokens, signing_keys
from app.infra.durable.key_ring import KeyRing
from app.infra.durable.live_tokens import PostgresRunSource
from app.infra.durable.signing_keys import PostgresSigningKeys
from app.kernel.clock import SystemClock
from app.kernel.identity import Acting
from app.kernel.run_tokens import LiveTokens, PublicKey
from tests.db.runs import a_queued_run, a_running_run, set_run
from tests.http.cable import Cable

PATIENCE_S = 15


@pytest.fixture
async def source(database: Database) -> AsyncIterator[PostgresRunSource]:
    source = PostgresRunSource(database)
    yield source
    await source.aclose()


async def test_a_run_lives_while_a_worker_has_it(database: Database, source: PostgresRunSource) -> None:
    first, second = await a_running_run(database, epoch=3), await a_running_run(database, epoch=1)
    await a_queued_run(database)

    assert (await source.read()).epochs == {first: 3, second: 1}


@pytest.mark.parametrize(
    "change",
    [
        "state = 'completed'",
        "state = 'failed'",
        "state = 'interrupted'",
        "state = 'queued'",
        "state = 'waiting'",
        "cancel_requested_at = now()",
        "lease_until = now()",
        "lease_until = NULL",
    ],
)
async def test_it_lives_no_more_when_anything_ends_that(
    database: Database, source: PostgresRunSource, change: str
) -> None:
    run_id = await a_running_run(database)

    await set_run(database, run_id, change)

    assert (await source.read()).epochs == {}


async def test_a_run_that_was_taken_over_is_another_one(database: Database, source: PostgresRunSource) -> None:
    run_id = await a_running_run(database, epoch=1)
    await set_run(database, run_id, "epoch = 2")

    assert (await source.read()).epochs == {run_id: 2}


async def test_a_key_that_has_expired_is_not_read_and_the_next_one_clears_it_away(
    database: Database, source: PostgresRunSource
) -> None:
    keys = PostgresSigningKeys(database.begin)
    await keys.publish(PublicKey("old", "AQAB", "AQAB"), life_s=0.01)
    await asyncio.sleep(0.02)
    read = await source.read()

    await keys.publish(PublicKey("new", "AQAB", "AQAB"), life_s=60)

    assert read.keys == frozenset()
    assert await ids(database) == ["new"]


async def test_workers_that_end_without_a_word_leave_no_more_than_so_many_keys(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing_keys, "MAX_KEYS", 2)
    keys = PostgresSigningKeys(database.begin)

    for number in range(4):
        await keys.publish(PublicKey(f"key-{number}", "AQAB", "AQAB"), life_s=60 + number)

    assert await ids(database) == ["key-2", "key-3"]


async def test_a_front_door_of_another_process_knows_key_and_run_and_forgets_both(database: Database) -> None:
    """Two processes share the database and nothing else: here two of everything that each has of its own."""
    elsewhere = Database(database.options)
    source = PostgresRunSource(elsewhere)
    live, ring = LiveRuns(source, SystemClock()), KeyRing(PostgresSigningKeys(database.begin), SystemClock())
    acting = Acting(await a_running_run(database), 1, ("assistant",))
    key = await ring.current()

    await live.refresh()
    known = (live.key(key.id) is not None, live.lives(acting))
    await set_run(database, acting.run_id, "state = 'completed'")
    await ring.close()
    await live.refresh()
    known_later = (live.key(key.id) is not None, live.lives(acting))
    await source.aclose()
    await elsewhere.aclose()

    assert known == (True, True)
    assert known_later == (False, False)


async def test_nothing_private_is_written(database: Database) -> None:
    ring = KeyRing(PostgresSigningKeys(database.begin), SystemClock())
    key = await ring.current()

    async with database.engine.connect() as connection:
        row = (await connection.execute(text("SELECT * FROM signing_keys"))).one()

    assert set(row._mapping) == {"id", "n", "e", "not_after"}
    numbers = key.private.private_numbers()
    assert row.n != str(numbers.d)
    assert numbers.public_numbers.e == 65537


@pytest.fixture
def cable(migrated_dsn: str) -> Iterator[Cable]:
    folder = Path(tempfile.mkdtemp(prefix="cable-"))  # pytest's own folders are too long for a socket's name
    cable = Cable(migrated_dsn, folder)
    cable.mend()
    yield cable
    cable.cut()
    shutil.rmtree(folder)


async def test_what_was_cut_off_is_said_and_read_again_when_it_is_back(database: Database, cable: Cable) -> None:
    source = PostgresRunSource(Database(replace(database.options, dsn=cable.dsn)))
    run_id = await a_running_run(database)
    await source.read()
    await asyncio.to_thread(cable.cut)

    with pytest.raises(StorageUnavailable):
        await source.read()

    cable.mend()
    assert (await source.read()).epochs == {run_id: 1}
    await source.aclose()


async def test_a_database_that_keeps_silent_is_given_up_in_time(
    database: Database, source: PostgresRunSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_tokens, "READ_S", 0.2)
    run_id = await a_running_run(database, left=timedelta(hours=1))
    await source.read()
    async with asyncio.timeout(PATIENCE_S), database.engine.begin() as connection:
        await connection.execute(text("LOCK TABLE signing_keys IN ACCESS EXCLUSIVE MODE"))
        with pytest.raises(StorageUnavailable):
            await source.read()

    assert (await source.read()).epochs == {run_id: 1}


async def ids(database: Database) -> list[str]:
    async with database.engine.connect() as connection:
        return list(await connection.scalars(text("SELECT id FROM signing_keys ORDER BY id")))


async def test_a_silent_database_is_no_reason_to_let_anybody_in(
    database: Database, source: PostgresRunSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_tokens, "READ_S", 0.2)
    live = LiveRuns(source, SystemClock())
    async with database.engine.begin() as connection:
        await connection.execute(text("LOCK TABLE runs IN ACCESS EXCLUSIVE MODE"))
        await live.refresh()

    assert (live.is_lost, live.is_fresh) == (True, False)
    assert await source.read() == LiveTokens()
