"""What the stores of chats promise, asked of the fake and of PostgreSQL alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from app.features.chats.domain.attached import Attached
from app.features.chats.domain.chat import Chat, ChatChange, NewChat
from app.features.chats.domain.message import (
    Message,
    MessageChange,
    MessageRole,
    MessageStatus,
    NewAnswer,
    NewMessage,
)
from app.features.chats.ports import ChatStore, MessageStore
from app.features.chats.repository.chats import PostgresChatStore
from app.features.chats.repository.messages import PostgresMessageStore
from app.kernel.ids import AttachmentId, ChatId, MessageId, RunId, UserId, new_run_id
from app.kernel.paging import ListQuery, Search
from app.kernel.transaction import Begin
from tests.fakes.chats import FakeChatStore, FakeMessageStore, World

ANN, BEN = UserId("ann"), UserId("ben")
OUT_OF_RANGE = (0, -1, 2**63, 10**30)


@dataclass(frozen=True)
class Stores:
    begin: Begin
    chats: ChatStore
    messages: MessageStore

    async def chat(self, owner: UserId = ANN, **fields: object) -> Chat:
        async with self.begin() as tx:
            return await self.chats.add(tx, NewChat(owner, **fields))  # type: ignore[arg-type]

    async def message(
        self,
        chat_id: ChatId,
        content: str = "hello",
        role: MessageRole = MessageRole.USER,
        status: MessageStatus = MessageStatus.COMPLETE,
    ) -> Message:
        async with self.begin() as tx:
            message = await self.messages.add(tx, NewMessage(chat_id, role, content, status))
        assert message is not None
        return message

    async def asked(
        self, chat_id: ChatId, content: str, run_id: RunId, status: MessageStatus = MessageStatus.PENDING
    ) -> Message:
        async with self.begin() as tx:
            message = await self.messages.add(tx, NewMessage(chat_id, MessageRole.USER, content, status, run_id))
        assert message is not None
        return message

    async def answer(self, question: Message, content: str, run_id: RunId) -> Message:
        async with self.begin() as tx:
            new = NewAnswer(question.id, content, MessageStatus.COMPLETE, run_id)
            message = await self.messages.add_answer(tx, new)
        assert message is not None
        return message

    async def contents(self, chat_id: ChatId) -> list[str]:
        async with self.begin() as tx:
            return [m.content for m in await self.messages.read_after(tx, chat_id, after=0, limit=100)]

    async def delete_chat(self, chat_id: ChatId) -> None:
        async with self.begin() as tx:
            await self.chats.delete(tx, chat_id)


@pytest.fixture(params=["fake", "postgres"])
def stores(request: pytest.FixtureRequest) -> Stores:
    if request.param == "fake":
        world = World()
        return Stores(world.begin, FakeChatStore(world), FakeMessageStore(world))
    database = request.getfixturevalue("database")
    return Stores(database.begin, PostgresChatStore(), PostgresMessageStore())


class TestChats:
    async def test_an_added_chat_is_found_as_it_was_added(self, stores: Stores) -> None:
        metadata = {"b": [1, 2.5, None, True], "a": {"é": "😀"}, "large": 2**63 - 1, "wide": 1e308}

        chat = await stores.chat(title="Plans", agent="echo", metadata=metadata)

        async with stores.begin() as tx:
            assert await stores.chats.find(tx, chat.id) == chat
        assert (chat.user_id, chat.title, chat.agent, chat.deleted_at) == (ANN, "Plans", "echo", None)
        assert chat.metadata == metadata
        assert chat.created_at == chat.updated_at
        assert chat.created_at.tzinfo is not None

    @pytest.mark.parametrize("number", OUT_OF_RANGE)
    async def test_an_id_that_cannot_exist_is_not_found(self, stores: Stores, number: int) -> None:
        async with stores.begin() as tx:
            assert await stores.chats.find(tx, ChatId(number)) is None
            assert await stores.chats.find_kept(tx, ChatId(number)) is None

    async def test_a_change_leaves_what_it_does_not_name(self, stores: Stores) -> None:
        chat = await stores.chat(title="Plans", agent="echo", metadata={"a": 1})

        async with stores.begin() as tx:
            changed = await stores.chats.update(tx, chat.id, ChatChange(title=None))

        assert changed is not None
        assert (changed.title, changed.agent, changed.metadata) == (None, "echo", {"a": 1})
        assert changed.updated_at > chat.updated_at

    async def test_an_empty_change_changes_nothing(self, stores: Stores) -> None:
        chat = await stores.chat(title="Plans")

        async with stores.begin() as tx:
            assert await stores.chats.update(tx, chat.id, ChatChange()) == chat

    async def test_a_deleted_chat_is_only_found_among_the_kept(self, stores: Stores) -> None:
        chat = await stores.chat()

        await stores.delete_chat(chat.id)

        async with stores.begin() as tx:
            kept = await stores.chats.find_kept(tx, chat.id)
            assert kept is not None
            assert kept.deleted_at is not None
            assert await stores.chats.find(tx, chat.id) is None
            assert await stores.chats.update(tx, chat.id, ChatChange(title="new")) is None
            assert (await stores.chats.list(tx, ListQuery(), owner=None)).items == []

    async def test_a_restored_chat_is_as_before(self, stores: Stores) -> None:
        chat = await stores.chat(title="Plans")
        await stores.delete_chat(chat.id)

        async with stores.begin() as tx:
            restored = await stores.chats.restore(tx, chat.id)

        assert restored == chat

    async def test_a_transaction_that_raises_stores_nothing(self, stores: Stores) -> None:
        async def add_and_fail() -> None:
            async with stores.begin() as tx:
                await stores.chats.add(tx, NewChat(ANN))
                raise KeyError

        with pytest.raises(KeyError):
            await add_and_fail()

        async with stores.begin() as tx:
            assert (await stores.chats.list(tx, ListQuery(), owner=None)).total == 0


class TestListing:
    async def test_lists_one_owners_chats_newest_first(self, stores: Stores) -> None:
        first, _, third = await stores.chat(ANN), await stores.chat(BEN), await stores.chat(ANN)

        async with stores.begin() as tx:
            page = await stores.chats.list(tx, ListQuery(), owner=ANN)

        assert [chat.id for chat in page.items] == [third.id, first.id]
        assert (page.total, page.limit, page.offset) == (2, 20, 0)

    async def test_a_page_past_the_end_still_tells_the_total(self, stores: Stores) -> None:
        for _ in range(3):
            await stores.chat()

        async with stores.begin() as tx:
            page = await stores.chats.list(tx, ListQuery(limit=2, offset=10), owner=None)

        assert (list(page.items), page.total) == ([], 3)

    @pytest.mark.parametrize(
        ("query", "titles"),
        [
            pytest.param(ListQuery(ids=(1, 3, 99)), ["50% off", "Beta"], id="ids"),
            pytest.param(ListQuery(ids=()), [], id="no ids"),
            pytest.param(ListQuery(search=Search("title", "BET", ignore_case=True)), ["Beta"], id="any case"),
            pytest.param(ListQuery(search=Search("title", "BET", ignore_case=False)), [], id="exact case"),
            pytest.param(ListQuery(search=Search("title", "0% o", ignore_case=True)), ["50% off"], id="percent"),
            pytest.param(ListQuery(search=Search("title", "_eta", ignore_case=True)), [], id="underscore"),
            pytest.param(ListQuery(search=Search("title", "\\", ignore_case=True)), ["a\\b"], id="backslash"),
            pytest.param(
                ListQuery(order_by="title", sort_order="asc"), ["50% off", "Beta", "a\\b", None], id="titles up"
            ),
            pytest.param(
                ListQuery(order_by="title", sort_order="desc"), [None, "a\\b", "Beta", "50% off"], id="titles down"
            ),
            pytest.param(ListQuery(order_by="id", sort_order="asc", limit=2, offset=1), [None, "50% off"], id="page"),
            pytest.param(ListQuery(created_after=datetime(2999, 1, 1, tzinfo=UTC)), [], id="created after"),
            pytest.param(ListQuery(updated_before=datetime(2999, 1, 1, tzinfo=UTC), limit=1), ["a\\b"], id="before"),
        ],
    )
    async def test_filters(self, stores: Stores, query: ListQuery, titles: list[str | None]) -> None:
        for title in ("Beta", None, "50% off", "a\\b"):
            await stores.chat(title=title)

        async with stores.begin() as tx:
            page = await stores.chats.list(tx, query, owner=None)

        assert [chat.title for chat in page.items] == titles

    async def test_lists_messages_of_one_chat_without_what_is_deleted(self, stores: Stores) -> None:
        chat, other, gone = await stores.chat(), await stores.chat(), await stores.chat()
        await stores.message(chat.id, "one")
        deleted = await stores.message(chat.id, "two")
        await stores.message(other.id, "three")
        await stores.message(gone.id, "four")
        await stores.delete_chat(gone.id)
        async with stores.begin() as tx:
            await stores.messages.delete(tx, deleted.id)

        async with stores.begin() as tx:
            everywhere = await stores.messages.list(tx, ListQuery(), chat_id=None)
            in_chat = await stores.messages.list(tx, ListQuery(), chat_id=chat.id)
            nowhere = await stores.messages.list(tx, ListQuery(), chat_id=ChatId(2**70))

        assert [message.content for message in everywhere.items] == ["three", "one"]
        assert [message.content for message in in_chat.items] == ["one"]
        assert nowhere.total == 0


class TestMessages:
    @pytest.mark.parametrize("pinned", [None, "Speak of tea."])
    async def test_a_message_is_found_with_its_owner_and_what_is_pinned(
        self, stores: Stores, pinned: str | None
    ) -> None:
        chat = await stores.chat(BEN, context=pinned)
        said = await stores.message(chat.id)

        async with stores.begin() as tx:
            found = await stores.messages.find(tx, said.id)

        assert found is not None
        assert (found.message, found.owner, found.pinned) == (said, BEN, pinned)

    async def test_an_added_message_is_found_with_its_owner(self, stores: Stores) -> None:
        chat = await stores.chat(BEN)

        message = await stores.message(chat.id, "größer", MessageRole.SYSTEM)

        async with stores.begin() as tx:
            owned = await stores.messages.find(tx, message.id)
        assert owned is not None
        assert (owned.message, owned.owner) == (message, BEN)
        assert (message.role, message.content, message.in_prompt) == (MessageRole.SYSTEM, "größer", True)

    async def test_a_message_marks_its_chat_as_changed(self, stores: Stores) -> None:
        chat = await stores.chat()

        await stores.message(chat.id)

        async with stores.begin() as tx:
            touched = await stores.chats.find(tx, chat.id)
        assert touched is not None
        assert touched.updated_at > chat.updated_at

    @pytest.mark.parametrize("number", [*OUT_OF_RANGE, 404])
    async def test_no_message_enters_a_chat_that_is_not_there(self, stores: Stores, number: int) -> None:
        async with stores.begin() as tx:
            added = await stores.messages.add(tx, NewMessage(ChatId(number), MessageRole.USER, "hello"))
            assert added is None
            assert await stores.messages.find(tx, MessageId(number)) is None

    async def test_reads_on_from_where_a_reader_is(self, stores: Stores) -> None:
        chat = await stores.chat()
        ids = [(await stores.message(chat.id, str(number))).id for number in range(4)]

        async with stores.begin() as tx:
            stretch = await stores.messages.read_after(tx, chat.id, after=ids[0], limit=2)

        assert [message.content for message in stretch] == ["1", "2"]

    async def test_deleting_a_chat_hides_its_messages_and_restoring_brings_the_same_set_back(
        self, stores: Stores
    ) -> None:
        chat = await stores.chat()
        kept, deleted = await stores.message(chat.id, "kept"), await stores.message(chat.id, "deleted")
        async with stores.begin() as tx:
            await stores.messages.delete(tx, deleted.id)

        await stores.delete_chat(chat.id)

        assert await stores.contents(chat.id) == []
        async with stores.begin() as tx:
            assert await stores.messages.find(tx, kept.id) is None
            assert await stores.messages.update(tx, kept.id, MessageChange(content="new")) is None
            await stores.messages.delete(tx, kept.id)
            await stores.chats.restore(tx, chat.id)
        assert await stores.contents(chat.id) == ["kept"]

    async def test_a_change_leaves_what_it_does_not_name(self, stores: Stores) -> None:
        chat = await stores.chat()
        message = await stores.message(chat.id, "hello")

        async with stores.begin() as tx:
            hidden = await stores.messages.update(tx, message.id, MessageChange(in_prompt=False))
        async with stores.begin() as tx:
            edited = await stores.messages.update(tx, message.id, MessageChange(content="bye"))
            same = await stores.messages.update(tx, message.id, MessageChange())

        assert hidden is not None
        assert edited is not None
        assert (hidden.content, hidden.in_prompt) == ("hello", False)
        assert (edited.content, edited.in_prompt) == ("bye", False)
        assert edited.updated_at > message.updated_at
        assert same == edited


class TestHistory:
    async def read(
        self, stores: Stores, before: Message, *, limit_messages: int = 200, limit_bytes: int = 1000
    ) -> Sequence[str]:
        async with stores.begin() as tx:
            history = await stores.messages.read_history(
                tx, before.chat_id, before=before.id, branch=0, limit_messages=limit_messages, limit_bytes=limit_bytes
            )
        return [message.content for message in history]

    async def test_a_message_keeps_what_it_was_given_wherever_it_is_read(self, stores: Stores) -> None:
        chat = await stores.chat()
        files = tuple(Attached(AttachmentId(new_run_id()), name, "image/png", 5) for name in ("Käse.png", "b.png"))
        asked = NewMessage(chat.id, MessageRole.USER, "look", attachments=files)

        async with stores.begin() as tx:
            said = await stores.messages.add(tx, asked)
            assert said is not None
            found = await stores.messages.find(tx, said.id)
            listed = await stores.messages.list(tx, ListQuery(), chat_id=chat.id)
            (read,) = await stores.messages.read_after(tx, chat.id, after=0, limit=10)
        now = await stores.message(chat.id, "now")
        async with stores.begin() as tx:
            (before,) = await stores.messages.read_history(
                tx, chat.id, before=now.id, branch=0, limit_messages=10, limit_bytes=100
            )

        assert found is not None
        assert found.owner == ANN
        every = (said, found.message, listed.items[0], read, before)
        assert [message.attachments for message in every] == [files] * 5
        assert now.attachments == ()

    async def test_is_what_was_said_before_oldest_first(self, stores: Stores) -> None:
        chat, other = await stores.chat(), await stores.chat()
        await stores.message(chat.id, "question")
        await stores.message(other.id, "elsewhere")
        await stores.message(chat.id, "answer", MessageRole.ASSISTANT)
        now = await stores.message(chat.id, "now")
        await stores.message(chat.id, "later")

        assert await self.read(stores, now) == ["question", "answer"]

    async def test_an_answer_stands_behind_its_question_though_others_were_asked_before_it_came(
        self, stores: Stores
    ) -> None:
        chat = await stores.chat()
        first = await stores.asked(chat.id, "first?", new_run_id(), MessageStatus.COMPLETE)
        second = await stores.asked(chat.id, "second?", new_run_id(), MessageStatus.COMPLETE)
        third = await stores.asked(chat.id, "third?", new_run_id())
        await stores.answer(first, "first.", new_run_id())
        await stores.answer(second, "second.", new_run_id())

        assert await self.read(stores, third) == ["first?", "first.", "second?", "second."]
        assert await self.read(stores, second) == ["first?", "first."]
        assert await self.read(stores, first) == []

    async def test_leaves_out_what_is_no_part_of_a_prompt(self, stores: Stores) -> None:
        chat = await stores.chat()
        hidden, deleted = await stores.message(chat.id, "hidden"), await stores.message(chat.id, "deleted")
        for status in (MessageStatus.FAILED, MessageStatus.INTERRUPTED, MessageStatus.PENDING):
            await stores.message(chat.id, status.value, status=status)
        await stores.message(chat.id, "shown")
        now = await stores.message(chat.id, "now")
        async with stores.begin() as tx:
            await stores.messages.update(tx, hidden.id, MessageChange(in_prompt=False))
            await stores.messages.delete(tx, deleted.id)

        assert await self.read(stores, now) == ["shown"]

    async def test_is_bounded_by_rows_and_by_bytes_from_the_newest(self, stores: Stores) -> None:
        chat = await stores.chat()
        for content in ("aaaa", "éé", "cccc"):
            await stores.message(chat.id, content)
        now = await stores.message(chat.id, "now")

        assert await self.read(stores, now, limit_messages=2) == ["éé", "cccc"]
        assert await self.read(stores, now, limit_bytes=8) == ["éé", "cccc"]
        assert await self.read(stores, now, limit_bytes=7) == ["cccc"]
        assert await self.read(stores, now, limit_bytes=3) == []


class TestClearing:
    async def test_what_was_taken_out_at_a_moment_is_put_back_and_nothing_else(self, stores: Stores) -> None:
        chat, other = await stores.chat(), await stores.chat()
        hidden, *rest = [await stores.message(chat.id, text) for text in ("hidden", "one", "two")]
        untouched = await stores.message(other.id)
        async with stores.begin() as tx:
            await stores.messages.update(tx, hidden.id, MessageChange(in_prompt=False))

        async with stores.begin() as tx:
            count, at = await stores.messages.take_all_out(tx, chat.id)
        async with stores.begin() as tx:
            again = await stores.messages.take_all_out(tx, chat.id)
            cleared = [one.in_prompt for one in await stores.messages.read_after(tx, chat.id, after=0, limit=9)]
        assert at is not None
        async with stores.begin() as tx:
            back = await stores.messages.put_back(tx, chat.id, taken_out_at=at)
        async with stores.begin() as tx:
            twice = await stores.messages.put_back(tx, chat.id, taken_out_at=at)
            found = await stores.messages.read_after(tx, chat.id, after=0, limit=9)
            elsewhere = await stores.messages.read_after(tx, other.id, after=0, limit=9)

        assert (count, again, cleared, back, twice) == (2, (0, None), [False] * 3, 2, 0)
        assert [one.id for one in found if one.in_prompt] == [one.id for one in rest]
        assert [one.in_prompt for one in elsewhere if one.id == untouched.id] == [True]


class TestTurns:
    async def test_an_answer_is_read_with_its_question(self, stores: Stores) -> None:
        chat, run, other = await stores.chat(), new_run_id(), new_run_id()
        asked = await stores.asked(chat.id, "question", run)
        await stores.message(chat.id, "in between")
        await stores.answer(asked, "of another run", other)
        answer = await stores.answer(asked, "answer", run)

        async with stores.begin() as tx:
            turn = await stores.messages.read_turn(tx, chat.id, asked.id, run, branch=0)

        assert list(turn) == [asked, answer]
        assert (answer.role, answer.content, answer.status) == (
            MessageRole.ASSISTANT,
            "answer",
            MessageStatus.COMPLETE,
        )
        assert (asked.run_id, answer.run_id) == (run, run)

    async def test_a_message_outside_of_runs_has_none(self, stores: Stores) -> None:
        chat = await stores.chat()

        assert (await stores.message(chat.id)).run_id is None

    async def test_an_answer_marks_its_chat_as_changed(self, stores: Stores) -> None:
        chat = await stores.chat()
        asked = await stores.asked(chat.id, "question", new_run_id())

        answer = await stores.answer(asked, "answer", new_run_id())

        async with stores.begin() as tx:
            touched = await stores.chats.find(tx, chat.id)
        assert touched is not None
        assert touched.updated_at >= answer.created_at > asked.created_at

    async def test_an_answer_enters_a_deleted_chat_unseen_and_is_there_when_it_is_restored(
        self, stores: Stores
    ) -> None:
        chat = await stores.chat()
        asked = await stores.asked(chat.id, "question", new_run_id())
        await stores.delete_chat(chat.id)
        async with stores.begin() as tx:
            deleted = await stores.chats.find_kept(tx, chat.id)

        await stores.answer(asked, "answer", new_run_id())

        async with stores.begin() as tx:
            assert await stores.chats.find_kept(tx, chat.id) == deleted
        assert await stores.contents(chat.id) == []
        async with stores.begin() as tx:
            await stores.chats.restore(tx, chat.id)
        assert await stores.contents(chat.id) == ["question", "answer"]

    async def test_a_question_that_never_was_has_no_answer(self, stores: Stores) -> None:
        nothing = NewAnswer(MessageId(404), "answer", MessageStatus.COMPLETE, new_run_id())

        async with stores.begin() as tx:
            assert await stores.messages.add_answer(tx, nothing) is None

    async def test_replaced_answers_leave_the_prompt_and_nothing_else_does(self, stores: Stores) -> None:
        chat = await stores.chat()
        asked = await stores.asked(chat.id, "question", new_run_id())
        first = await stores.answer(asked, "first", new_run_id())
        other = await stores.asked(chat.id, "other", new_run_id())
        kept = await stores.answer(other, "kept", new_run_id())

        async with stores.begin() as tx:
            await stores.messages.replace_answers(tx, chat.id, asked.id, branch=0)

        async with stores.begin() as tx:
            found = [await stores.messages.find(tx, message.id) for message in (asked, first, other, kept)]
        assert [owned.message.in_prompt for owned in found if owned] == [True, False, True, True]

    async def test_a_settled_message_keeps_its_content(self, stores: Stores) -> None:
        chat = await stores.chat()
        message = await stores.message(chat.id, status=MessageStatus.PENDING)

        async with stores.begin() as tx:
            settled = await stores.messages.settle(tx, message.id, MessageStatus.FAILED)

        assert settled is not None
        assert (settled.id, settled.content, settled.status) == (message.id, "hello", MessageStatus.FAILED)

    async def test_a_question_that_was_answered_once_stays_complete(self, stores: Stores) -> None:
        chat = await stores.chat()
        message = await stores.message(chat.id, status=MessageStatus.COMPLETE)

        async with stores.begin() as tx:
            settled = await stores.messages.settle(tx, message.id, MessageStatus.FAILED)

        assert settled is not None
        assert settled.status is MessageStatus.COMPLETE
