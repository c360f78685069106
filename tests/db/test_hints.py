"""Hints between processes, through a real database that loses connections."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from app.infra.db import hints as module
from app.infra.db.engine import Database
from app.infra.db.hints import LOOK, MAX_WAITING, PostgresHints

PATIENCE_S = 15


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not is_so():  # noqa: ASYNC110 - polled, with a deadline
            await asyncio.sleep(0.005)


@asynccontextmanager
async def two_processes(database: Database) -> AsyncIterator[tuple[PostgresHints, list[str]]]:
    """One that sends, and what the other hears on the channel "c"."""
    sender, hearer = PostgresHints(database), PostgresHints(database)
    heard: list[str] = []

    def note(words: Sequence[str]) -> None:
        heard.extend(words)

    hearer.hear("c", note)
    async with asyncio.TaskGroup() as group:
        loops = [group.create_task(sender.follow()), group.create_task(hearer.follow())]
        await sender.listens()
        await until(lambda: heard == [LOOK])
        heard.clear()
        yield sender, heard
        for loop in loops:
            loop.cancel()


async def end_connections(database: Database, query: str = "%") -> None:
    """End whoever asked this last, as a restart of the server does."""
    ended = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE pid <> pg_backend_pid() AND datname = current_database() AND state = 'idle' AND query LIKE :query"
    )
    async with database.engine.begin() as connection:
        await connection.execute(ended, {"query": query})


async def test_words_are_heard_once_each_and_in_order(database: Database) -> None:
    async with two_processes(database) as (sender, heard):
        sender.send("c", "one", "two")
        sender.send("c", "two", "three")
        await until(lambda: "three" in heard)

        assert heard == ["one", "two", "three"]


async def test_many_words_are_sent_in_payloads_that_fit(database: Database) -> None:
    words = [f"{n:032x}" for n in range(1000)]
    async with two_processes(database) as (sender, heard):
        sender.send("c", *words)
        await until(lambda: len(heard) == len(words))

        assert heard == words


async def test_more_than_is_kept_becomes_one_look(database: Database) -> None:
    async with two_processes(database) as (sender, heard):
        for n in range(MAX_WAITING + 5):
            sender.send("c", str(n))
        await until(lambda: LOOK in heard)

        assert heard == [LOOK]


async def test_a_channel_may_be_heard_later(database: Database) -> None:
    hints = PostgresHints(database)
    heard: list[str] = []
    async with asyncio.TaskGroup() as group:
        loop = group.create_task(hints.follow())
        await hints.listens()
        hints.hear("late", heard.extend)
        await until(lambda: heard == [LOOK])
        hints.send("late", "word")
        await until(lambda: heard == [LOOK, "word"])
        loop.cancel()


async def test_after_a_lost_connection_everything_is_looked_at(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RECONNECT_S", 0.02)
    async with two_processes(database) as (sender, heard):
        with capture_logs() as logs:
            await end_connections(database)
            await until(lambda: LOOK in heard)
            await sender.listens()
            sender.send("c", "again")
            await until(lambda: "again" in heard)

    assert [line["event"] for line in logs].count("hints.lost") == 2
    assert "hints.heard_again" in [line["event"] for line in logs]
