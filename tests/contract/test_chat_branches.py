"""What the stores promise of branches, asked of the fake and of PostgreSQL alike."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from app.features.chats.domain.branch import Departure, Head, Position
from app.features.chats.domain.chat import Chat, NewChat
from app.features.chats.domain.message import Message, MessageChange, MessageRole, MessageStatus, NewAnswer, NewMessage
from app.features.chats.ports import BranchStore, ChatStore, MessageStore
from app.features.chats.repository.branches import PostgresBranchStore
from app.features.chats.repository.chats import PostgresChatStore
from app.features.chats.repository.messages import PostgresMessageStore
from app.kernel.ids import ChatId, MessageId, RunId, UserId, new_run_id
from app.kernel.transaction import Begin
from tests.fakes.chats import FakeBranchStore, FakeChatStore, FakeMessageStore, World

ANN = UserId("ann")
USER, COMPLETE = MessageRole.USER, MessageStatus.COMPLETE


@dataclass(frozen=True)
class Stores:
    begin: Begin
    chats: ChatStore
    messages: MessageStore
    branches: BranchStore

    async def chat(self) -> Chat:
        async with self.begin() as tx:
            return await self.chats.add(tx, NewChat(ANN, "Plans", "echo", {"a": [1]}))

    async def say(self, chat: Chat, text: str, status: MessageStatus = COMPLETE, role: MessageRole = USER) -> Message:
        async with self.begin() as tx:
            message = await self.messages.add(tx, NewMessage(chat.id, role, text, status))
        assert message is not None
        return message

    async def answer(self, question: Message, text: str, *, branch: int = 0, run: RunId | None = None) -> Message:
        async with self.begin() as tx:
            new = NewAnswer(question.id, text, COMPLETE, run or new_run_id(), branch)
            message = await self.messages.add_answer(tx, new)
        assert message is not None
        return message

    async def turn(self, chat: Chat, text: str) -> tuple[Message, Message]:
        question = await self.say(chat, f"{text}?")
        return question, await self.answer(question, f"{text}.", branch=question.branch)

    async def leave(self, chat: Chat, parent: int, place: int, id_: int) -> int:
        async with self.begin() as tx:
            number = await self.branches.begin(tx, chat.id, Departure(parent, Position(place, id_)))
        assert number is not None
        return number

    async def edit(self, chat: Chat, question: Message, text: str) -> tuple[Message, Message]:
        await self.leave(chat, question.branch, question.id, question.id)
        return await self.turn(chat, text)

    async def path(self, chat: Chat, branch: int | None) -> list[str]:
        async with self.begin() as tx:
            found = await self.messages.read_after(tx, chat.id, after=0, limit=100, branch=branch)
        return [message.content for message in found]

    async def shown(self, chat: Chat, before: Message | MessageId, branch: int, *, most: int = 100) -> list[str]:
        before_id = before if isinstance(before, int) else before.id
        async with self.begin() as tx:
            found = await self.messages.read_history(
                tx, chat.id, before=before_id, branch=branch, limit_messages=most, limit_bytes=1000
            )
        return [message.content for message in found]

    async def answers(self, chat: Chat, branch: int) -> list[tuple[str, str]]:
        async with self.begin() as tx:
            pairs = await self.messages.read_answers(tx, chat.id, after=0, limit=100, branch=branch)
        return [(question.content, answer.content) for question, answer in pairs]

    async def heads(self, chat: Chat) -> Sequence[Head]:
        async with self.begin() as tx:
            return sorted(await self.branches.heads(tx, chat.id), key=lambda head: (head.departure, head.branch))

    async def now(self, chat_id: ChatId) -> Chat:
        async with self.begin() as tx:
            chat = await self.chats.find(tx, chat_id)
        assert chat is not None
        return chat


@pytest.fixture(params=["fake", "postgres"])
def stores(request: pytest.FixtureRequest) -> Stores:
    if request.param == "fake":
        world = World()
        return Stores(world.begin, FakeChatStore(world), FakeMessageStore(world), FakeBranchStore(world))
    database = request.getfixturevalue("database")
    return Stores(database.begin, PostgresChatStore(), PostgresMessageStore(), PostgresBranchStore())


async def test_a_chat_begins_in_its_first_branch(stores: Stores) -> None:
    chat = await stores.chat()

    message = await stores.say(chat, "hello")

    assert (chat.branch, chat.branches, message.branch) == (0, 0, 0)
    assert await stores.heads(chat) == []


async def test_what_is_said_goes_to_the_branch_a_chat_goes_on_in(stores: Stores) -> None:
    chat = await stores.chat()
    first, _ = await stores.turn(chat, "one")

    begun = await stores.leave(chat, 0, first.id, first.id)
    inside = await stores.say(chat, "instead?")
    async with stores.begin() as tx:
        chosen = await stores.branches.select(tx, chat.id, 0)
    back = await stores.say(chat, "back?")

    assert (begun, inside.branch, back.branch) == (1, 1, 0)
    assert chosen is not None
    assert ((await stores.now(chat.id)).branch, chosen.branch, chosen.branches) == (0, 0, 1)


async def test_a_path_is_the_parents_up_to_where_it_was_left(stores: Stores) -> None:
    chat, other = await stores.chat(), await stores.chat()
    await stores.turn(other, "elsewhere")
    await stores.turn(chat, "one")
    second, _ = await stores.turn(chat, "two")
    inner, _ = await stores.edit(chat, second, "two b")
    await stores.turn(chat, "three b")
    await stores.edit(chat, inner, "two c")

    paths = [await stores.path(chat, branch) for branch in (0, 1, 2)]

    assert paths[0] == ["one?", "one.", "two?", "two."]
    assert paths[1] == ["one?", "one.", "two b?", "two b.", "three b?", "three b."]
    assert paths[2] == ["one?", "one.", "two c?", "two c."]
    assert await stores.path(chat, None) == [
        *["one?", "one.", "two?", "two.", "two b?", "two b.", "three b?", "three b.", "two c?", "two c."]
    ]
    assert await stores.answers(chat, 2) == [("one?", "one."), ("two c?", "two c.")]
    assert await stores.answers(chat, 0) == [("one?", "one."), ("two?", "two.")]


async def test_a_history_is_that_of_the_runs_own_branch_newest_of_it_first(stores: Stores) -> None:
    chat = await stores.chat()
    await stores.turn(chat, "one")
    second, _ = await stores.turn(chat, "two")
    await stores.edit(chat, second, "two b")
    third = await stores.say(chat, "three b?", MessageStatus.PENDING)

    assert await stores.shown(chat, third, 1) == ["one?", "one.", "two b?", "two b."]
    assert await stores.shown(chat, third, 1, most=3) == ["one.", "two b?", "two b."]
    assert await stores.shown(chat, third, 0) == ["one?", "one.", "two?", "two."]
    assert await stores.shown(chat, MessageId(third.id), 1, most=1) == ["two b."]


async def test_an_answer_that_comes_late_enters_the_paths_that_left_behind_its_question(stores: Stores) -> None:
    """Its place was before the departure all along: what waits in a line is part of what it waits behind."""
    chat = await stores.chat()
    first, second = await stores.say(chat, "one?"), await stores.say(chat, "two?")
    await stores.leave(chat, 0, second.id, second.id)
    instead = await stores.say(chat, "two b?")

    await stores.answer(first, "one.")
    await stores.answer(second, "two.")

    assert await stores.shown(chat, instead, 1) == ["one?", "one."]
    assert sorted(await stores.path(chat, 1)) == ["one.", "one?", "two b?"]


async def test_an_answer_given_anew_stands_behind_the_same_question(stores: Stores) -> None:
    chat = await stores.chat()
    question, _ = await stores.turn(chat, "one")
    await stores.turn(chat, "two")
    branch = await stores.leave(chat, 0, question.id, question.id + 1)
    run = new_run_id()

    anew = await stores.answer(question, "one b.", branch=branch, run=run)
    after = await stores.say(chat, "two b?")

    assert await stores.shown(chat, question, branch) == []
    assert await stores.shown(chat, after, branch) == ["one?", "one b."]
    assert await stores.path(chat, 0) == ["one?", "one.", "two?", "two."]
    async with stores.begin() as tx:
        turn = await stores.messages.read_turn(tx, chat.id, question.id, run, branch=branch)
    assert [one.content for one in turn] == ["one?", "one b."]
    assert anew.branch == branch


async def test_answers_are_replaced_on_one_branch_alone(stores: Stores) -> None:
    chat = await stores.chat()
    question, kept = await stores.turn(chat, "one")
    branch = await stores.leave(chat, 0, question.id, question.id + 1)
    replaced = await stores.answer(question, "one b.", branch=branch)

    async with stores.begin() as tx:
        await stores.messages.replace_answers(tx, chat.id, question.id, branch=branch)

    async with stores.begin() as tx:
        found = [await stores.messages.find(tx, one.id) for one in (question, kept, replaced)]
    assert [one.message.in_prompt for one in found if one] == [True, True, False]


async def test_a_message_is_located_with_what_it_answers_and_where_its_branch_begins(stores: Stores) -> None:
    chat = await stores.chat()
    question, answer = await stores.turn(chat, "one")
    instead, its_answer = await stores.edit(chat, question, "one b")
    async with stores.begin() as tx:
        await stores.messages.delete(tx, instead.id)

    async with stores.begin() as tx:
        spots = [await stores.branches.locate(tx, one.id) for one in (question, answer, its_answer, instead)]
        nowhere = await stores.branches.locate(tx, MessageId(2**70))

    first, second, third, gone = spots
    assert first is not None
    assert second is not None
    assert third is not None
    assert (first.message, first.owner, first.question, first.departure, first.is_first) == (
        *(question, ANN, None, None, True),
    )
    assert (second.question, second.is_first, second.position) == (question.id, False, (question.id, answer.id))
    # what was deleted was there before it all the same
    assert (third.departure, third.is_first) == (Departure(0, Position(question.id, question.id)), False)
    assert (gone, nowhere) == (None, None)


async def test_heads_are_what_stands_first_behind_each_departure(stores: Stores) -> None:
    chat = await stores.chat()
    question, answer = await stores.turn(chat, "one")
    instead, _ = await stores.edit(chat, question, "one b")
    again = await stores.leave(chat, 0, question.id, question.id + 1)
    anew = await stores.answer(question, "one c.", branch=again)
    newest = await stores.answer(question, "one d.", branch=again)
    nothing_yet = await stores.leave(chat, 1, instead.id, instead.id + 1)

    heads = await stores.heads(chat)

    edited = Departure(0, Position(question.id, question.id))
    behind = Departure(0, Position(question.id, question.id + 1))
    empty = Departure(1, Position(instead.id, instead.id + 1))
    assert (again, nothing_yet, anew.id < newest.id) == (2, 3, True)
    assert heads == [
        Head(edited, 0, question.id),
        Head(edited, 1, instead.id),
        Head(behind, 0, answer.id),
        Head(behind, 2, newest.id),
        Head(empty, 1, MessageId(instead.id + 1)),
    ]
    async with stores.begin() as tx:
        await stores.messages.delete(tx, question.id)
        await stores.messages.delete(tx, newest.id)
    assert [head.message for head in await stores.heads(chat)][:4] == [answer.id, instead.id, answer.id, anew.id]


@pytest.mark.parametrize("number", [0, -1, 404, 2**63])
async def test_no_branch_is_made_where_there_is_no_chat(stores: Stores, number: int) -> None:
    async with stores.begin() as tx:
        if 0 < number < 2**63:
            assert await stores.branches.begin(tx, ChatId(number), Departure(0, Position(1, 1))) is None
            assert await stores.branches.select(tx, ChatId(number), 0) is None
            assert await stores.branches.copy(tx, ChatId(number), branch=0, until=None, title=None) is None
        assert await stores.branches.locate(tx, MessageId(number)) is None


async def test_a_copy_has_one_path_in_order_and_nothing_else(stores: Stores) -> None:
    chat = await stores.chat()
    first, second = await stores.say(chat, "one?"), await stores.say(chat, "two?", MessageStatus.PENDING)
    await stores.answer(first, "one.")
    await stores.edit(chat, first, "elsewhere")
    gone = await stores.say(chat, "deleted?")
    async with stores.begin() as tx:
        await stores.messages.update(tx, first.id, MessageChange(in_prompt=False))
        await stores.messages.delete(tx, gone.id)
    before = await stores.path(chat, None)

    async with stores.begin() as tx:
        whole = await stores.branches.copy(tx, chat.id, branch=0, until=None, title="Other")
        until = Position(first.id, first.id + 1)
        part = await stores.branches.copy(tx, chat.id, branch=0, until=until, title=None)
        beside = await stores.branches.copy(tx, chat.id, branch=1, until=None, title=None)

    assert whole is not None
    assert part is not None
    assert beside is not None
    assert (whole.title, whole.user_id, whole.agent, whole.metadata) == ("Other", ANN, "echo", {"a": [1]})
    assert (part.title, whole.branch, whole.branches, whole.deleted_at) == ("Plans", 0, 0, None)
    assert whole.created_at > chat.created_at
    assert await stores.path(whole, 0) == ["one?", "one.", "two?"]
    assert await stores.path(part, 0) == ["one?"]
    assert await stores.path(beside, 0) == ["elsewhere?", "elsewhere."]
    assert await stores.answers(whole, 0) == [("one?", "one.")]
    async with stores.begin() as tx:
        said = await stores.messages.read_after(tx, whole.id, after=0, limit=10)
    assert [one.status.value for one in said] == ["complete", "complete", "interrupted"]
    assert [one.in_prompt for one in said] == [False, True, True]
    assert [one.id for one in said] == sorted(one.id for one in said)
    assert said[2].created_at == second.created_at
    assert {one.branch for one in said} == {0}
    assert await stores.path(chat, None) == before
