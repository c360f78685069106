"""What the audit promises, asked of the fake and of PostgreSQL alike; that nothing is taken back, of PostgreSQL."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.features.audit.domain import AuditFilter, Entry
from app.features.audit.ports import AuditStore
from app.features.audit.repository import PostgresAuditStore
from app.infra.db.engine import Database, session_of
from app.kernel.audit import Act, AuditTrail
from app.kernel.ids import UserId
from app.kernel.paging import ListQuery, Search
from app.kernel.transaction import Begin
from tests.fakes.audit import FakeAuditStore
from tests.fakes.ledger import no_transaction

ALL = AuditFilter()
HOUR = timedelta(hours=1)


def an_act(action: str = "chat.deleted", who: str = "root", owner: str | None = "ann", object_id: str = "1") -> Act:
    whose = None if owner is None else UserId(owner)
    return Act(action, object_id, UserId(who), whose, ("helper",), "r-1", {"tool": "ä", "n": 1})


@dataclass
class Book:
    store: AuditStore
    begin: Begin

    async def record(self, *acts: Act) -> None:
        async with self.begin() as tx:
            trail: AuditTrail = self.store
            for act in acts:
                await trail.record(tx, act)

    async def read(self, only: AuditFilter = ALL, query: ListQuery | None = None) -> Sequence[Entry]:
        async with self.begin() as tx:
            return (await self.store.list(tx, query or ListQuery(), only=only)).items


@pytest.fixture(params=["fake", "postgres"])
def book(request: pytest.FixtureRequest) -> Book:
    if request.param == "fake":
        return Book(FakeAuditStore(), no_transaction)
    database: Database = request.getfixturevalue("database")
    return Book(PostgresAuditStore(), database.begin)


async def test_an_act_is_kept_with_all_it_says(book: Book) -> None:
    await book.record(an_act(), an_act("table.reloaded", "", None))

    last, first = await book.read()

    assert first.act == an_act()
    assert last.act == an_act("table.reloaded", "", None)
    assert last.id > first.id
    assert abs(first.at - datetime.now(UTC)) < HOUR


async def test_lists(book: Book) -> None:
    await book.record(
        an_act(object_id="1"), an_act("run.cancelled", "mia", "ben", "2"), an_act(owner=None, object_id="3")
    )
    third, second, first = await book.read()

    async def ids(only: AuditFilter = ALL, **query: object) -> list[int]:
        return [one.id for one in await book.read(only, ListQuery(**query))]  # type: ignore[arg-type] # as named

    assert await ids(AuditFilter(who="mia")) == [second.id]
    assert await ids(AuditFilter(owner="ann")) == [first.id]
    assert await ids(AuditFilter(action="chat.deleted")) == [third.id, first.id]
    assert await ids(AuditFilter(object_id="3")) == [third.id]
    assert await ids(AuditFilter(request_id="r-2")) == []
    assert await ids(ids=(first.id, second.id)) == [second.id, first.id]
    assert await ids(sort_order="asc", limit=1, offset=1) == [second.id]
    assert await ids(order_by="who", sort_order="asc") == [second.id, first.id, third.id]
    assert await ids(search=Search("action", "CANCEL", ignore_case=True)) == [second.id]
    assert await ids(created_after=datetime.now(UTC) + HOUR) == []
    assert len(await ids(updated_before=datetime.now(UTC) + HOUR)) == 3


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET who = 'nobody'",
        "DELETE FROM audit",
        "TRUNCATE audit",
        "SET LOCAL portico.audit_retention = 'on'; DELETE FROM audit",
        "SET LOCAL portico.audit_retention = 'on'; UPDATE audit SET at = now() - interval '99 days'",
    ],
)
async def test_nothing_is_taken_back(database: Database, statement: str) -> None:
    book = Book(PostgresAuditStore(), database.begin)
    await book.record(an_act())

    async def take_back() -> None:
        async with database.engine.begin() as connection:
            for one in statement.split("; "):
                await connection.execute(text(one))

    with pytest.raises(DBAPIError, match="takes nothing back"):
        await take_back()

    assert [entry.act for entry in await book.read()] == [an_act()]


async def test_what_is_undone_was_not_written(database: Database) -> None:
    book = Book(PostgresAuditStore(), database.begin)

    async def act_in_vain() -> None:
        async with database.begin() as tx:
            await book.store.record(tx, an_act())
            raise KeyError("the act failed")

    with pytest.raises(KeyError):
        await act_in_vain()

    assert await book.read() == []


async def test_what_is_old_is_counted_and_forgotten_by_hand_and_nothing_younger(database: Database) -> None:
    store = PostgresAuditStore()
    async with database.begin() as tx:
        for days in (0, 29, 31, 500):
            at = datetime.now(UTC) - timedelta(days=days)
            await session_of(tx).execute(
                text(
                    "INSERT INTO audit (at, who, action, object_id, agents, request_id, details)"
                    " VALUES (:at, 'root', :action, '1', '{}', '', '{}')"
                ),
                {"at": at, "action": f"{days} days ago"},
            )

    async with database.begin() as tx:
        counted = await store.count_old(tx, age=timedelta(days=30))
    async with database.begin() as tx:
        forgotten = await store.forget(tx, age=timedelta(days=30))
    async with database.begin() as tx:
        left = await store.forget(tx, age=timedelta(days=30))

    assert (counted, forgotten, left) == (2, 2, 0)
    assert [one.act.action for one in await Book(store, database.begin).read()] == ["29 days ago", "0 days ago"]
