"""What the search in chats promises, asked of the fake and of PostgreSQL alike."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from app.features.chats.domain.chat import Chat, ChatChange, NewChat
from app.features.chats.domain.message import Message, MessageRole, NewMessage
from app.features.chats.domain.search import FoundChat
from app.features.chats.ports import ChatSearch, ChatStore, MessageStore
from app.features.chats.repository.chats import PostgresChatStore
from app.features.chats.repository.messages import PostgresMessageStore
from app.features.chats.repository.search import PostgresChatSearch
from app.kernel.ids import UserId
from app.kernel.paging import Page
from app.kernel.transaction import Begin
from tests.fakes.chats import FakeChatSearch, FakeChatStore, FakeMessageStore, World

ANN, BEN = UserId("ann"), UserId("ben")
LONG = f"{'lorem ipsum ' * 400}the plan is here {'dolor sit ' * 400}"


@dataclass(frozen=True)
class Stores:
    begin: Begin
    chats: ChatStore
    messages: MessageStore
    chats_search: ChatSearch

    async def chat(self, *contents: str, owner: UserId = ANN, title: str | None = None) -> Chat:
        async with self.begin() as tx:
            chat = await self.chats.add(tx, NewChat(owner, title=title))
        for content in contents:
            await self.message(chat, content)
        return chat

    async def message(self, chat: Chat, content: str) -> Message:
        async with self.begin() as tx:
            message = await self.messages.add(tx, NewMessage(chat.id, MessageRole.USER, content))
        assert message is not None
        return message

    async def search(self, words: str, *, limit: int = 20, offset: int = 0) -> Page[FoundChat]:
        async with self.begin() as tx:
            return await self.chats_search.search(tx, words, owner=ANN, limit=limit, offset=offset)

    async def found(self, words: str) -> list[int]:
        return [one.chat.id for one in (await self.search(words)).items]


@pytest.fixture(params=["fake", "postgres"])
def stores(request: pytest.FixtureRequest) -> Stores:
    if request.param == "fake":
        world = World()
        return Stores(world.begin, FakeChatStore(world), FakeMessageStore(world), FakeChatSearch(world))
    database = request.getfixturevalue("database")
    return Stores(database.begin, PostgresChatStore(), PostgresMessageStore(), PostgresChatSearch())


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("plan", 1),
        ("PLANNING", 1),
        ("lann", 0),
        ("trip planning", 1),
        ("trip garden", 0),
        ("v2", 1),
        ("example com", 1),
        ("path.txt", 1),
        ("snake", 1),
        ("case", 1),
        ("zürich", 1),
        ("ZÜRICH", 1),
        ("日本", 1),
        ("déjà", 1),
        ("quoted", 1),
        ("dashed", 1),
        ("a", 1),
        ("a & | b:*", 0),
        ("plan:* & !trip", 1),
        ("'trip'", 1),
        ("\\", 0),
        ("'", 0),
        ("???", 0),
        ("😀" * 200, 0),
        ("😀trip😀", 1),
        (" ", 0),
    ],
)
async def test_words_are_found_whole_or_by_how_they_begin(stores: Stores, words: str, found: int) -> None:
    text = "Planning a trip to Zürich—dashed, “quoted”: v2, www.example.com/a/path.txt snake_case déjà-vu 日本語"
    await stores.chat("unlike", text)

    page = await stores.search(words)

    assert (page.total, len(page.items)) == (found, found)


async def test_a_found_chat_is_as_it_was_kept_with_its_newest_matches(stores: Stores) -> None:
    chat = await stores.chat(title="Notes")
    said = [await stores.message(chat, f"plan {number}") for number in range(4)]
    await stores.message(chat, "something else")

    (found,) = (await stores.search("plan")).items

    async with stores.begin() as tx:
        assert found.chat == await stores.chats.find(tx, chat.id)
    assert [one.message_id for one in found.matches] == [said[3].id, said[2].id, said[1].id]
    assert [one.snippet for one in found.matches] == ["plan 3", "plan 2", "plan 1"]
    assert (found.matches[0].role, found.matches[0].created_at) == (MessageRole.USER, said[3].created_at)


async def test_a_snippet_stands_around_the_word_however_long_the_message(stores: Stores) -> None:
    await stores.chat(LONG)

    (found,) = (await stores.search("PLAN")).items

    snippet = found.matches[0].snippet
    assert "the plan is here dolor" in snippet
    assert (snippet[0], snippet[-1]) == ("…", "…")
    assert len(snippet) <= 202


async def test_chats_come_by_their_newest_match_or_what_changed_last(stores: Stores) -> None:
    first = await stores.chat("plan one")
    titled = await stores.chat(title="A plan")
    second = await stores.chat("plan two")
    await stores.message(first, "the plan again")
    await stores.message(second, "unlike")

    assert await stores.found("plan") == [first.id, second.id, titled.id]


async def test_nobody_elses_and_nothing_deleted_is_found(stores: Stores) -> None:
    await stores.chat("a plan", owner=BEN, title="plan")
    gone = await stores.chat("a plan", title="plan")
    kept = await stores.chat("unlike")
    deleted = await stores.message(kept, "a plan")
    async with stores.begin() as tx:
        await stores.chats.delete(tx, gone.id)
        await stores.messages.delete(tx, deleted.id)

    assert await stores.found("plan") == []


async def test_what_was_changed_is_found_by_its_new_words(stores: Stores) -> None:
    chat = await stores.chat(title="old")

    async with stores.begin() as tx:
        await stores.chats.update(tx, chat.id, ChatChange(title="new"))

    assert (await stores.found("old"), await stores.found("new")) == ([], [chat.id])


@pytest.mark.parametrize(("limit", "offset", "at"), [(2, 0, (2, 1)), (2, 2, (0,)), (2, 4, ())])
async def test_pages(stores: Stores, limit: int, offset: int, at: Sequence[int]) -> None:
    chats = [await stores.chat("plan") for _ in range(3)]

    page = await stores.search("plan", limit=limit, offset=offset)

    assert [one.chat.id for one in page.items] == [chats[number].id for number in at]
    assert (page.total, page.limit, page.offset) == (3, limit, offset)
