"""How a process hears of revocations: through a real database, which loses connections, hints and its history."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from app.edge.revocations import Revocations
from app.infra.db import revocation_feed
from app.infra.db.engine import Database
from app.infra.db.revocation_feed import PostgresRevocationFeed
from app.infra.db.revocations import PAGE_ROWS, PostgresRevocationStore
from app.kernel.identity import Principal
from app.kernel.ids import UserId
from app.kernel.revocation import Mark, NewRevocation, Revocation

NOW = datetime.now(UTC)
PATIENCE_S = 15
STORE = PostgresRevocationStore()


def a_draft(name: str, *, life: timedelta = timedelta(hours=1)) -> NewRevocation:
    return NewRevocation(Mark.SUBJECT, name, NOW, NOW + life, "root")


async def withdraw(database: Database, name: str) -> Revocation:
    async with database.begin() as tx:
        made = await STORE.add(tx, a_draft(name), limit=10_000)
    assert made is not None
    return made


def refuses(known: Revocations, name: str) -> bool:
    return known.refuses(Principal(UserId(name), "user", frozenset(), 2**40, issued_at=NOW.timestamp() - 1))


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not is_so():  # noqa: ASYNC110 - polled, with a deadline
            await asyncio.sleep(0.005)


@asynccontextmanager
async def following(database: Database, known: Revocations) -> AsyncIterator[None]:
    """Follow for as long as the block, from the moment that the process listens."""
    feed = PostgresRevocationFeed(database)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(feed.follow(known))
        await until(lambda: known._heard_at_s > 0)
        try:
            yield
        finally:
            task.cancel()


async def end_the_feeds_connection(database: Database) -> None:
    """End whatever listens, as a restart of the server does."""
    listening = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND state = 'idle'"
    )
    async with database.engine.begin() as connection:
        await connection.execute(text(f"{listening} AND query LIKE '%FROM revocation%'"))


async def test_what_is_in_force_is_loaded_page_by_page(database: Database) -> None:
    async with database.begin() as tx:
        expired = await STORE.add(tx, a_draft("expired", life=-timedelta(seconds=1)), limit=10)
        gone = await STORE.add(tx, a_draft("lifted"), limit=10)
        assert expired is not None
        assert gone is not None
        await STORE.lift(tx, gone.id)
    copies = text(
        "INSERT INTO revocations (number, mark, name, before, expires_at, created_by)"
        " SELECT 1, 'sub', 'user-' || n, now(), now() + interval '1 hour', 'root' FROM generate_series(1, :rows) AS n"
    )
    async with database.engine.begin() as connection:
        await connection.execute(copies, {"rows": PAGE_ROWS + 1})
    known = Revocations()

    await PostgresRevocationFeed(database).load(known)

    assert await known.health() == f"{PAGE_ROWS + 1} in force, heard 0.0 s ago"
    assert not refuses(known, "expired")
    assert not refuses(known, "lifted")
    assert refuses(known, f"user-{PAGE_ROWS + 1}")


async def test_what_another_process_withdraws_and_lifts_is_heard(database: Database) -> None:
    known = Revocations()
    async with following(database, known):
        made = await withdraw(database, "ann")
        await until(lambda: refuses(known, "ann"))

        async with database.begin() as tx:
            await STORE.lift(tx, made.id)

        await until(lambda: not refuses(known, "ann"))


async def test_without_any_hint_it_is_heard_by_asking(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """As behind a pooler that passes no notification on."""
    monkeypatch.setattr(revocation_feed, "CHANNEL", "nobody_speaks_here")
    known = Revocations()
    async with following(database, known):
        await withdraw(database, "ann")

        await until(lambda: refuses(known, "ann"))


async def test_a_hint_makes_it_sooner_than_asking(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocation_feed, "POLL_S", 3600)
    known = Revocations()
    async with following(database, known):
        await withdraw(database, "ann")

        await until(lambda: refuses(known, "ann"))


async def test_whoever_commits_late_is_not_missed(database: Database) -> None:
    """The second writer waits for the first, so that no number becomes visible before a smaller one."""
    known = Revocations()
    async with following(database, known), asyncio.TaskGroup() as group:
        async with database.begin() as tx:
            await STORE.add(tx, a_draft("slow"), limit=10)
            second = group.create_task(withdraw(database, "quick"))
            await blocked_writers(database, 1)
            is_second_waiting = not second.done()
        await until(lambda: refuses(known, "slow") and refuses(known, "quick"))

    assert is_second_waiting


async def blocked_writers(database: Database, count: int) -> None:
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%revocation_counter%'"
    )
    async with asyncio.timeout(PATIENCE_S):
        while True:
            async with database.engine.connect() as connection:
                if await connection.scalar(waiting) == count:
                    return
            await asyncio.sleep(0.01)


async def test_after_a_lost_connection_everything_is_read_and_listened_to_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = Revocations()
    with capture_logs() as events:
        async with following(database, known):
            await end_the_feeds_connection(database)
            await until(lambda: bool(events))
            monkeypatch.setattr(revocation_feed, "POLL_S", 3600)  # from now on it is hints or nothing
            await withdraw(database, "missed")
            await until(lambda: refuses(known, "missed"))

            await withdraw(database, "heard")

            await until(lambda: refuses(known, "heard"))

    assert [event["event"] for event in events] == ["revocations.unheard", "revocations.heard_again"]


async def test_a_counter_that_went_back_is_another_history(database: Database) -> None:
    known = Revocations()
    async with following(database, known):
        for name in ("ann", "ben", "eve"):
            await withdraw(database, name)
        await until(lambda: refuses(known, "eve"))
        async with database.engine.begin() as connection:
            await connection.execute(text("TRUNCATE revocations, revocation_counter"))

        await withdraw(database, "zoe")

        await until(lambda: refuses(known, "zoe"))
