"""What the record of what was spent promises, asked of the fake and of PostgreSQL alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import pytest

from app.agents.turns import Usage
from app.features.usage.domain.budget import Payer
from app.features.usage.domain.spent import Dimension, Settlement, UsageFilter, UsageSum
from app.features.usage.ports import Ledger, UsageStore
from app.features.usage.repository.ledger import PostgresLedger
from app.features.usage.repository.usage import PostgresUsageStore
from app.infra.db.engine import Database
from app.kernel.ids import ChatId, RunId, UserId
from app.kernel.paging import ListQuery, Search
from app.kernel.transaction import Begin
from tests.fakes.ledger import FakeLedger, no_transaction
from tests.fakes.usage import FakeUsageStore

FRIDAY, SATURDAY = date(2026, 11, 27), date(2026, 11, 28)
ALL = UsageFilter()
DAY, AGENT, CHAT, MODEL, USER = Dimension


@dataclass
class Record:
    ledger: Ledger
    store: UsageStore
    begin: Begin

    async def spend(
        self,
        user: str = "ann",
        *,
        agent: str = "assistant",
        chat: int | None = 1,
        model: str = "small",
        day: date = SATURDAY,
        cost: str | None = "0.5",
        requests: int = 1,
    ) -> None:
        payer = Payer(RunId(uuid4()), UserId(user), None if chat is None else ChatId(chat), agent)
        spent = Usage(10, 5, requests, 0, None if cost is None else Decimal(cost))
        await self.ledger.settle(uuid4(), "k", (), Settlement(payer, day, spent, model, 1500))

    async def sums(
        self, *by: Dimension, only: UsageFilter = ALL, query: ListQuery | None = None
    ) -> tuple[Sequence[UsageSum], int]:
        async with self.begin() as tx:
            page = await self.store.sums(tx, query or ListQuery(), by=by, only=only)
        return page.items, page.total

    async def requests(self, *by: Dimension, only: UsageFilter = ALL, query: ListQuery | None = None) -> list[object]:
        """The sums as (values of the dimensions, requests)."""
        items, _ = await self.sums(*by, only=only, query=query)
        return [(*(one.values[dimension] for dimension in by), one.usage.requests) for one in items]


@pytest.fixture(params=["fake", "postgres"])
def record(request: pytest.FixtureRequest) -> Record:
    if request.param == "fake":
        ledger = FakeLedger()
        return Record(ledger, FakeUsageStore(ledger.settlements), no_transaction)
    database: Database = request.getfixturevalue("database")
    return Record(PostgresLedger(database.begin, database.look), PostgresUsageStore(database.begin), database.begin)


async def test_nothing_was_spent(record: Record) -> None:
    assert await record.sums() == ([], 0)
    assert await record.sums(DAY) == ([], 0)


async def test_one_sum_of_everything(record: Record) -> None:
    await record.spend("ann", requests=2)
    await record.spend("ben", cost=None)

    ((one,), total) = await record.sums()

    assert total == 1
    assert one.values == {}
    assert one.usage == Usage(20, 10, 3, 0, Decimal("0.5"))
    assert (one.milliseconds, one.unpriced_requests) == (3000, 1)


async def test_the_newest_day_comes_first(record: Record) -> None:
    await record.spend(day=SATURDAY)
    await record.spend(day=FRIDAY, requests=3)
    await record.spend(day=FRIDAY)

    assert await record.requests(DAY) == [(SATURDAY, 1), (FRIDAY, 4)]


async def test_sums_by_several_things(record: Record) -> None:
    await record.spend(agent="a", model="small")
    await record.spend(agent="a", model="large")
    await record.spend(agent="b", model="small", chat=None)

    by_both = await record.requests(AGENT, MODEL)
    by_chat = await record.requests(CHAT, query=ListQuery(order_by="requests"))

    assert by_both == [("b", "small", 1), ("a", "small", 1), ("a", "large", 1)]
    assert sorted(by_chat, key=repr) == [(1, 2), (None, 1)]


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        (UsageFilter(user_id=UserId("ann")), 1),
        (UsageFilter(agent="b"), 2),
        (UsageFilter(chat_id=ChatId(7)), 4),
        (UsageFilter(model="large"), 8),
        (UsageFilter(user_id=UserId("ann"), model="large"), None),
    ],
    ids=["user", "agent", "chat", "model", "nobody"],
)
async def test_filters(record: Record, only: UsageFilter, expected: int | None) -> None:
    await record.spend("ann")
    await record.spend("ben", agent="b", requests=2)
    await record.spend("ben", chat=7, requests=4)
    await record.spend("ben", model="large", requests=8)

    assert await record.requests(only=only) == ([] if expected is None else [(expected,)])


async def test_search_takes_wildcards_as_they_are(record: Record) -> None:
    await record.spend(model="gpt-100%")
    await record.spend(model="gpt-1000", requests=2)

    found = [
        await record.requests(MODEL, query=ListQuery(search=Search("model", text, ignore_case)))
        for text, ignore_case in (("100%", True), ("GPT", True), ("GPT", False))
    ]

    assert found == [[("gpt-100%", 1)], [("gpt-1000", 2), ("gpt-100%", 1)], []]


async def test_order_is_chosen_and_what_has_no_price_comes_last(record: Record) -> None:
    for user, cost in (("a", "0.2"), ("b", None), ("c", "0.1")):
        await record.spend(user, cost=cost)

    orders = [
        [one.values[USER] for one in (await record.sums(USER, query=ListQuery(order_by="cost", sort_order=order)))[0]]
        for order in ("asc", "desc")
    ]

    assert orders == [["c", "a", "b"], ["a", "c", "b"]]


async def test_pages(record: Record) -> None:
    for number in range(5):
        await record.spend(f"user-{number}")

    items, total = await record.sums(USER, query=ListQuery(limit=2, offset=2))

    assert total == 5
    assert [one.values[USER] for one in items] == ["user-2", "user-1"]


async def test_what_is_old_is_forgotten(record: Record) -> None:
    await record.spend(day=FRIDAY)
    await record.spend(day=SATURDAY)

    await record.store.forget(before=SATURDAY)

    assert await record.requests(DAY) == [(SATURDAY, 1)]


async def test_the_moment_of_spending_is_asked_of_the_database(database: Database) -> None:
    record = Record(PostgresLedger(database.begin, database.look), PostgresUsageStore(database.begin), database.begin)
    await record.spend()
    earlier, later = (datetime.now(UTC) + timedelta(hours=hours) for hours in (-1, 1))

    found = [
        await record.requests(query=query)
        for query in (
            ListQuery(created_after=earlier, created_before=later),
            ListQuery(updated_after=earlier, updated_before=later),
            ListQuery(created_after=later),
            ListQuery(created_before=earlier),
            ListQuery(updated_after=later),
            ListQuery(updated_before=earlier),
        )
    ]

    assert found == [[(1,)], [(1,)], [], [], [], []]
