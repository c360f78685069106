"""What only a real database can show of chats: ids in commit order, what leaves it, what it refuses by itself."""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import text

from app.features.chats.domain.branch import Departure, Position
from app.features.chats.domain.chat import Chat, NewChat
from app.features.chats.domain.message import MessageRole, MessageStatus, NewMessage
from app.features.chats.repository.branches import PostgresBranchStore
from app.features.chats.repository.chats import PostgresChatStore
from app.features.chats.repository.messages import PostgresMessageStore
from app.infra.db.engine import Database
from app.kernel.ids import MessageId
from tests.fakes.chat_slice import ANN


async def a_chat(database: Database) -> Chat:
    async with database.begin() as tx:
        return await PostgresChatStore().add(tx, NewChat(ANN.user_id))


async def test_a_reader_who_follows_by_id_misses_nothing_that_commits_late(database: Database) -> None:
    chat = await a_chat(database)
    store = PostgresMessageStore()
    draft = NewMessage(chat.id, MessageRole.USER, "hello")
    second_began = asyncio.Event()

    async def write_second() -> MessageId:
        async with database.begin() as tx:
            second_began.set()
            message = await store.add(tx, draft)
        assert message is not None
        return message.id

    async with asyncio.TaskGroup() as group, database.begin() as tx:
        first = await store.add(tx, draft)
        assert first is not None
        second = group.create_task(write_second())
        await second_began.wait()
        async with database.begin() as other:
            assert await store.read_after(other, chat.id, after=0, limit=10) == []
        assert not second.done()

    assert second.result() > first.id


async def test_who_writes_while_a_branch_begins_writes_into_that_branch(database: Database) -> None:
    chat = await a_chat(database)
    writer_began = asyncio.Event()

    async def write() -> int:
        async with database.begin() as tx:
            writer_began.set()
            message = await PostgresMessageStore().add(tx, NewMessage(chat.id, MessageRole.USER, "hello"))
        assert message is not None
        return message.branch

    async with asyncio.TaskGroup() as group, database.begin() as tx:
        begun = await PostgresBranchStore().begin(tx, chat.id, Departure(0, Position(1, 1)))
        writing = group.create_task(write())
        await writer_began.wait()
        await asyncio.sleep(0.2)  # it waits for the chat's row by now, with what it saw before
        assert not writing.done()

    assert (begun, writing.result()) == (1, 1)


async def test_history_leaves_the_database_bounded(database: Database) -> None:
    chat = await a_chat(database)
    store = PostgresMessageStore()
    draft = NewMessage(chat.id, MessageRole.USER, "x" * 100_000)
    async with database.begin() as tx:
        for _ in range(5):
            await store.add(tx, draft)
        last = await store.add(tx, replace(draft, status=MessageStatus.PENDING))
    assert last is not None

    async with database.begin() as tx:
        history = await store.read_history(tx, chat.id, before=last.id, branch=0, limit_messages=200, limit_bytes=2**18)

    assert len(history) == 2


@pytest.mark.parametrize("statement", ["UPDATE messages SET role = 'tool'", "UPDATE messages SET status = 'odd'"])
async def test_the_database_refuses_roles_and_statuses_of_its_own_accord(database: Database, statement: str) -> None:
    chat = await a_chat(database)
    async with database.begin() as tx:
        await PostgresMessageStore().add(tx, NewMessage(chat.id, MessageRole.USER, "hello"))

    with pytest.raises(Exception, match="violates check constraint"):
        async with database.engine.begin() as connection:
            await connection.execute(text(statement))
