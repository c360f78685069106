"""What is remembered of a person, over HTTP: theirs to read and to delete, and nobody else's."""

import asyncio
from collections.abc import Sequence

import httpx
import pytest

from app.features.memory.gate import KeptMemories
from app.features.memory.repository import PostgresMemoryStore
from app.infra.db.engine import Database, DatabaseOptions
from app.kernel.ids import UserId
from tests.http.calls import as_, fields_of, somebody

MEMORIES = "/api/v1/memories"


def remember(dsn: str, owner: str, *texts: str) -> list[int]:
    """Remember as a tool does it."""

    async def keep() -> list[int]:
        database = Database(DatabaseOptions(dsn=dsn))
        memories = KeptMemories(database.begin, PostgresMemoryStore())
        ids = [(await memories.remember(UserId(owner), text, ["about"])).id for text in texts]
        await database.aclose()
        return ids

    return asyncio.run(keep())


def texts(caller: httpx.Client, owner: str, **query: str | int) -> Sequence[str]:
    answer = caller.get(f"{MEMORIES}/", params=query, headers=as_(owner))
    assert answer.status_code == 200, answer.text
    return [item["text"] for item in answer.json()["items"]]


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("DELETE", "/"), ("DELETE", "/1")])
def test_who_is_anonymous_or_a_guest_is_kept_out(caller: httpx.Client, method: str, path: str) -> None:
    anonymous = caller.request(method, MEMORIES + path)
    guest = caller.request(method, MEMORIES + path, headers=as_(somebody(), "guest"))

    assert (anonymous.status_code, guest.status_code) == (401, 403)


@pytest.mark.parametrize("role", ["user", "manager", "admin"])
def test_what_is_somebody_elses_is_not_found(caller: httpx.Client, migrated_dsn: str, role: str) -> None:
    owner = somebody()
    (one,) = remember(migrated_dsn, owner, "Lives in Bern.")
    other = as_(somebody(), role)

    refused = caller.delete(f"{MEMORIES}/{one}", headers=other)
    emptied = caller.delete(f"{MEMORIES}/", headers=other)

    assert (refused.status_code, refused.json()["type"]) == (404, "memory-not-found")
    assert emptied.json() == {"forgotten": 0}
    assert caller.get(f"{MEMORIES}/", headers=other).json()["items"] == []
    assert texts(caller, owner) == ["Lives in Bern."]


@pytest.mark.parametrize(
    ("query", "field"),
    [("pageSize=0", "pageSize"), ("orderBy=owner", "orderBy"), ("createdAfter=soon", "createdAfter")],
)
def test_what_is_malformed_is_named(caller: httpx.Client, query: str, field: str) -> None:
    answer = caller.get(f"{MEMORIES}/?{query}", headers=as_(somebody()))

    assert (answer.status_code, fields_of(answer)) == (400, [field])


def test_an_id_is_a_plain_number(caller: httpx.Client) -> None:
    answer = caller.delete(f"{MEMORIES}/1e3", headers=as_(somebody()))

    assert (answer.status_code, fields_of(answer)) == (400, ["memory_id"])


def test_one_reads_and_forgets_what_is_remembered_of_oneself(caller: httpx.Client, migrated_dsn: str) -> None:
    owner = somebody()
    ids = remember(migrated_dsn, owner, "Lives in Bern.", "Has a cat.", "Likes tea.")

    page = caller.get(f"{MEMORIES}/?pageSize=2", headers=as_(owner)).json()
    assert [item["text"] for item in page["items"]] == ["Likes tea.", "Has a cat."]
    assert (page["total"], page["limit"], page["offset"]) == (3, 2, 0)
    assert set(page["items"][0]) == {"id", "text", "tags", "created_at", "updated_at"}
    assert page["items"][0]["tags"] == ["about"]
    assert texts(caller, owner, searchField="text", searchString="CAT", searchIgnoreCase="true") == ["Has a cat."]
    assert texts(caller, owner, ids=str(ids[0])) == ["Lives in Bern."]

    assert caller.delete(f"{MEMORIES}/{ids[1]}", headers=as_(owner)).status_code == 204
    assert caller.delete(f"{MEMORIES}/{ids[1]}", headers=as_(owner)).status_code == 404
    assert texts(caller, owner, sortOrder="asc") == ["Lives in Bern.", "Likes tea."]
    assert caller.delete(f"{MEMORIES}/", headers=as_(owner)).json() == {"forgotten": 2}
    assert texts(caller, owner) == []
