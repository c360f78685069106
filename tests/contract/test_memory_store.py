"""What the stores of memories and notes promise, asked of the fakes and of PostgreSQL alike."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from app.agents.house import Note, NoteStale
from app.features.memory.ports import MemoryStore, NoteStore
from app.features.memory.repository import PostgresMemoryStore, PostgresNoteStore
from app.infra.db.engine import Database
from app.kernel.ids import UserId
from app.kernel.paging import ListQuery, Search
from app.kernel.transaction import Begin, Tx
from tests.fakes.memory import FakeMemoryStore, FakeNoteStore

ANN, BOB = UserId("ann"), UserId("bob")


@dataclass
class Stores:
    begin: Begin
    memories: MemoryStore
    notes: NoteStore


@asynccontextmanager
async def _no_transaction() -> AsyncIterator[Tx]:
    yield object()


@pytest.fixture(params=["fake", "postgres"])
def stores(request: pytest.FixtureRequest) -> Stores:
    if request.param == "fake":
        return Stores(_no_transaction, FakeMemoryStore(), FakeNoteStore())
    database: Database = request.getfixturevalue("database")
    return Stores(database.begin, PostgresMemoryStore(), PostgresNoteStore())


async def remember(stores: Stores, text: str, *tags: str, owner: UserId = ANN, at_most: int = 100) -> int | None:
    async with stores.begin() as tx:
        kept = await stores.memories.remember(tx, owner, text, tags, at_most=at_most)
    return None if kept is None else kept.id


async def recall(stores: Stores, query: str, *, owner: UserId = ANN, limit: int = 10) -> list[str]:
    async with stores.begin() as tx:
        return [kept.text for kept in await stores.memories.recall(tx, owner, query, limit=limit)]


async def test_what_shares_words_is_recalled_the_best_first(stores: Stores) -> None:
    await remember(stores, "Likes cats and dogs.")
    await remember(stores, "Lives in Bern.", "home")
    await remember(stores, "Has a cat at home.")
    await remember(stores, "Has a cat, too.", owner=BOB)

    assert (await recall(stores, "Is a cat at home?"))[0] == "Has a cat at home."
    assert set(await recall(stores, "cat")) == {"Has a cat at home.", "Likes cats and dogs."}
    assert set(await recall(stores, "home")) == {"Has a cat at home.", "Lives in Bern."}
    assert await recall(stores, "nothing of it") == []
    assert await recall(stores, "", limit=2) == ["Has a cat at home.", "Lives in Bern."]
    assert await recall(stores, "cat", owner=BOB) == ["Has a cat, too."]


@pytest.mark.parametrize("query", ["'", "a & | ! b", "<->", "%", "\\", "()", ":*", "🐈", "\0cat"])
async def test_no_query_is_a_syntax(stores: Stores, query: str) -> None:
    await remember(stores, "Has a cat.")

    assert len(await recall(stores, query)) <= 1


async def test_the_same_is_remembered_once_and_gets_the_tags_that_are_new(stores: Stores) -> None:
    first = await remember(stores, "Lives in Bern.", "home")
    again = await remember(stores, "Lives in Bern.", "home", "town")

    assert first == again
    async with stores.begin() as tx:
        (kept,) = (await stores.memories.list(tx, ANN, ListQuery())).items
    assert kept.tags == ("home", "town")
    assert await recall(stores, "town") == ["Lives in Bern."]


async def test_so_much_is_remembered_of_one_person_and_no_more(stores: Stores) -> None:
    assert [await remember(stores, f"Fact {n}.", at_most=2) is not None for n in range(3)] == [True, True, False]
    assert await remember(stores, "Fact 1.", "old", at_most=2) is not None  # it is there already
    assert await remember(stores, "Fact 2.", owner=BOB, at_most=2) is not None


async def test_memories_are_listed_and_forgotten_by_their_owner_alone(stores: Stores) -> None:
    ids = [await remember(stores, f"Fact {n}.") for n in range(3)]
    others = await remember(stores, "Fact 9.", owner=BOB)
    assert others is not None
    assert ids[0] is not None

    async with stores.begin() as tx:
        page = await stores.memories.list(tx, ANN, ListQuery(limit=2, offset=1))
        found = await stores.memories.list(tx, ANN, ListQuery(search=Search("text", "FACT 1", ignore_case=True)))
        not_hers = await stores.memories.forget(tx, ANN, others)
        hers = await stores.memories.forget(tx, ANN, ids[0])
        twice = await stores.memories.forget(tx, ANN, ids[0])
        rest = await stores.memories.forget_all(tx, ANN)

    assert (page.total, [kept.text for kept in page.items]) == (3, ["Fact 1.", "Fact 0."])
    assert [kept.text for kept in found.items] == ["Fact 1."]
    assert (not_hers, hers, twice, rest) == (False, True, False, 2)
    assert await recall(stores, "fact", owner=BOB) == ["Fact 9."]


async def write(stores: Stores, document: object, *, over: int | None = None, thread: str = "chat:1") -> Note:
    async with stores.begin() as tx:
        return await stores.notes.write(tx, ANN, thread, "plan", document, over=over, at_most=3)  # type: ignore[arg-type] # JSON


async def read(stores: Stores, *, owner: UserId = ANN, thread: str = "chat:1") -> Note:
    async with stores.begin() as tx:
        return await stores.notes.read(tx, owner, thread, "plan")


async def test_a_note_is_written_over_the_revision_that_was_read(stores: Stores) -> None:
    assert await read(stores) == Note(0, None)
    assert await write(stores, [1], over=0) == Note(1, [1])
    assert await write(stores, [2], over=1) == Note(2, [2])
    assert await write(stores, [2], over=1) == Note(2, [2])  # done again after a crash

    with pytest.raises(NoteStale) as stale:
        await write(stores, [3], over=1)

    assert stale.value.note == Note(2, [2]) == await read(stores)
    assert await write(stores, {"any": None}) == Note(3, {"any": None})
    assert await read(stores, owner=BOB) == Note()
    assert await read(stores, thread="chat:2") == Note()


async def test_of_too_many_notes_the_oldest_give_way(stores: Stores) -> None:
    for n in range(4):
        await write(stores, n, thread=f"chat:{n}")

    assert [(await read(stores, thread=f"chat:{n}")).revision for n in range(4)] == [0, 1, 1, 1]
