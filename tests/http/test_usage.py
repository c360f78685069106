"""`GET /api/v1/usage`: what was spent, added up for whoever may know."""

import asyncio
from datetime import date
from decimal import Decimal
from uuid import uuid4

import httpx
import pytest

from app.agents.turns import Usage
from app.features.usage.domain.budget import Payer
from app.features.usage.domain.spent import Settlement
from app.features.usage.repository.ledger import PostgresLedger
from app.infra.db.engine import Database, DatabaseOptions
from app.kernel.ids import ChatId, RunId, UserId
from tests.http.calls import Json, as_, fields_of, somebody

USAGE = "/api/v1/usage"
FRIDAY, SATURDAY = date(2026, 11, 27), date(2026, 11, 28)


class Cashier:
    """Spends in people's names, straight into the database."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    def spend(self, *settlements: Settlement) -> None:
        async def settle() -> None:
            database = Database(DatabaseOptions(dsn=self._dsn))
            for what in settlements:
                await PostgresLedger(database.begin, database.look).settle(uuid4(), "k", (), what)
            await database.aclose()

        asyncio.run(settle())


@pytest.fixture
def cashier(migrated_dsn: str) -> Cashier:
    return Cashier(migrated_dsn)


@pytest.fixture
def owner(cashier: Cashier) -> str:
    """Somebody who spent on two days, with two agents."""
    owner = somebody()
    cashier.spend(
        a_settlement(owner, FRIDAY, agent="echo", chat_id=1, cost="0.25"),
        a_settlement(owner, SATURDAY, agent="echo", chat_id=2, cost="0.5"),
        a_settlement(owner, SATURDAY, agent="other", chat_id=2, model="unheard-of", cost=None),
    )
    return owner


def a_settlement(
    owner: str, day: date, *, agent: str, chat_id: int, cost: str | None, model: str = "small"
) -> Settlement:
    payer = Payer(RunId(uuid4()), UserId(owner), ChatId(chat_id), agent)
    return Settlement(payer, day, Usage(10, 5, 1, 2, None if cost is None else Decimal(cost)), model, 1500)


def usage(client: httpx.Client, sub: str, query: str = "", role: str = "user") -> Json:
    answer = client.get(f"{USAGE}?{query}", headers=as_(sub, role))
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


def test_ones_own_is_told_day_by_day(client: httpx.Client, owner: str) -> None:
    found = usage(client, owner)

    assert {key: found[key] for key in ("total", "limit", "offset")} == {"total": 2, "limit": 20, "offset": 0}
    assert [item["day"] for item in found["items"]] == ["2026-11-28", "2026-11-27"]
    assert found["items"][0] == {
        "day": "2026-11-28",
        "agent": None,
        "chat_id": None,
        "model": None,
        "user_id": None,
        "requests": 2,
        "tool_calls": 4,
        "input_tokens": 20,
        "output_tokens": 10,
        "seconds": 3.0,
        "cost": "0.5",
        "unpriced_requests": 1,
    }


@pytest.mark.parametrize(
    ("query", "names", "expected"),
    [
        ("by=agent", ["agent"], [["other", 1], ["echo", 2]]),
        ("by=chat", ["chat_id"], [[2, 2], [1, 1]]),
        ("by=model&orderBy=requests", ["model"], [["small", 2], ["unheard-of", 1]]),
        (
            "by=agent,day&sortOrder=asc",
            ["agent", "day"],
            [["echo", "2026-11-27", 1], ["echo", "2026-11-28", 1], ["other", "2026-11-28", 1]],
        ),
        ("by=", [], [[3]]),
        ("by=&agent=echo", [], [[2]]),
        ("by=&chat_id=1", [], [[1]]),
        ("by=&model=unheard-of", [], [[1]]),
        ("by=&searchField=model&searchString=HEARD", [], [[1]]),
        ("by=&createdBefore=2001-01-01", [], []),
        ("by=&user_id=OWNER", [], [[3]]),
        ("by=day&pageSize=1&currentPage=2", ["day"], [["2026-11-27", 1]]),
    ],
)
def test_it_is_added_up_and_filtered_as_asked(
    client: httpx.Client, owner: str, query: str, names: list[str], expected: list[list[object]]
) -> None:
    items = usage(client, owner, query.replace("OWNER", owner))["items"]

    assert [[*(item[name] for name in names), item["requests"]] for item in items] == expected


def test_somebody_elses_is_for_staff(client: httpx.Client, owner: str) -> None:
    refused = client.get(f"{USAGE}?user_id={owner}", headers=as_(somebody()))
    nothing = usage(client, somebody())
    by_staff = usage(client, somebody(), f"by=user&user_id={owner}", role="manager")
    everybody = usage(client, somebody(), "by=user&pageSize=100", role="manager")

    assert (refused.status_code, refused.json()["type"]) == (403, "forbidden")
    assert nothing["items"] == []
    assert [(item["user_id"], item["requests"]) for item in by_staff["items"]] == [(owner, 3)]
    assert owner in [item["user_id"] for item in everybody["items"]]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("by=hour", "by"),
        ("orderBy=model", "orderBy"),
        ("orderBy=id", "orderBy"),
        ("ids=1", "ids"),
        ("chat_id=-1", "chat_id"),
        ("agent=%00", "agent"),
        (f"model={'x' * 256}", "model"),
        ("searchField=day&searchString=x", "searchField"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_its_name(client: httpx.Client, query: str, field: str) -> None:
    answer = client.get(f"{USAGE}?{query}", headers=as_(somebody()))

    assert answer.status_code == 400
    assert fields_of(answer) == [field]
