"""What only a real database can show of chats: turns that race, leases that expire, ids in commit order."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from app.features.chats.domain.chat import Chat, ChatBusy, NewChat
from app.features.chats.domain.message import MessageRole, MessageStatus, NewMessage, TurnLost
from app.features.chats.repository.chats import PostgresChatStore
from app.features.chats.repository.messages import PostgresMessageStore
from app.features.chats.repository.turns import PostgresTurnStore
from app.features.chats.use_cases.exchange_message import Exchange, ExchangeMessage
from app.features.chats.use_cases.turn_lease import TurnLease
from app.infra.db.engine import Database
from app.kernel.ids import ChatId, MessageId
from tests.fakes.agents import ScriptedAgents
from tests.fakes.chat_slice import ANN
from tests.fakes.chats import RecordingHook


async def a_chat(database: Database) -> Chat:
    async with database.begin() as tx:
        return await PostgresChatStore().add(tx, NewChat(ANN.user_id))


def an_exchange(
    database: Database, agents: ScriptedAgents, lease: timedelta = timedelta(seconds=30)
) -> ExchangeMessage:
    turn_lease = TurnLease(database.begin, PostgresTurnStore(), length=lease)
    stores = PostgresChatStore(), PostgresMessageStore()
    return ExchangeMessage(database.begin, *stores, turn_lease, agents, RecordingHook())


async def statuses(database: Database, chat_id: ChatId) -> list[str]:
    async with database.begin() as tx:
        found = await PostgresMessageStore().read_after(tx, chat_id, after=0, limit=100)
    return [f"{message.role.value} {message.status.value}" for message in found]


async def attempt(exchange: ExchangeMessage, chat_id: ChatId) -> Exchange | Exception:
    try:
        return await exchange(ANN, chat_id, "hello")
    except (ChatBusy, TurnLost) as refused:
        return refused


async def test_of_twenty_exchanges_at_once_one_wins_and_the_others_are_refused_at_once(database: Database) -> None:
    chat = await a_chat(database)
    agents = ScriptedAgents()
    agents.hold()
    exchange = an_exchange(database, agents)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(attempt(exchange, chat.id)) for _ in range(20)]
        async with asyncio.timeout(30):
            for _ in range(19):
                await asyncio.wait([task for task in tasks if not task.done()], return_when=asyncio.FIRST_COMPLETED)
                if sum(task.done() for task in tasks) == 19:
                    break
        refused = [task.result() for task in tasks if task.done()]
        agents.release()

    assert [type(outcome) for outcome in refused] == [ChatBusy] * 19
    assert sum(isinstance(task.result(), Exchange) for task in tasks) == 1
    assert await statuses(database, chat.id) == ["user complete", "assistant complete"]


async def test_no_connection_is_held_while_the_agent_thinks(database: Database) -> None:
    chat = await a_chat(database)
    agents = ScriptedAgents()
    agents.hold()

    async with asyncio.TaskGroup() as group:
        group.create_task(attempt(an_exchange(database, agents), chat.id))
        await asyncio.wait_for(agents.is_asked.wait(), 10)
        open_transactions = text("SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'")
        async with database.engine.connect() as connection:
            assert await connection.scalar(open_transactions) == 0
        agents.release()


async def test_a_crashed_turn_frees_itself_when_its_lease_expires(database: Database) -> None:
    chat = await a_chat(database)
    crashed, agents = ScriptedAgents(), ScriptedAgents()
    crashed.hold()
    lease = timedelta(seconds=0.5)

    async with asyncio.TaskGroup() as group:
        # it neither renews nor comes back: what a killed process looks like from the database
        stuck = group.create_task(attempt(an_exchange(database, crashed, lease), chat.id))
        await asyncio.wait_for(crashed.is_asked.wait(), 10)
        exchange = an_exchange(database, agents)
        assert isinstance(await attempt(exchange, chat.id), ChatBusy)
        async with asyncio.timeout(10):
            while isinstance(await attempt(exchange, chat.id), ChatBusy):  # noqa: ASYNC110 - polled, with a deadline
                await asyncio.sleep(0.05)
        crashed.release()

    assert isinstance(stuck.result(), TurnLost)
    assert await statuses(database, chat.id) == ["user interrupted", "user complete", "assistant complete"]
    assert agents.last_turn.history == ()


async def test_a_cancelled_exchange_frees_the_chat(database: Database) -> None:
    chat = await a_chat(database)
    agents = ScriptedAgents()
    agents.hold()
    exchange = an_exchange(database, agents)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(attempt(exchange, chat.id))
        await asyncio.wait_for(agents.is_asked.wait(), 10)
        task.cancel()

    agents.release()
    assert task.cancelled()
    assert await statuses(database, chat.id) == ["user interrupted"]
    assert isinstance(await attempt(exchange, chat.id), Exchange)


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
        history = await store.read_history(tx, chat.id, before=last.id, limit_messages=200, limit_bytes=256 * 1024)

    assert len(history) == 2


@pytest.mark.parametrize("statement", ["UPDATE messages SET role = 'tool'", "UPDATE messages SET status = 'odd'"])
async def test_the_database_refuses_roles_and_statuses_of_its_own_accord(database: Database, statement: str) -> None:
    chat = await a_chat(database)
    async with database.begin() as tx:
        await PostgresMessageStore().add(tx, NewMessage(chat.id, MessageRole.USER, "hello"))

    with pytest.raises(Exception, match="violates check constraint"):
        async with database.engine.begin() as connection:
            await connection.execute(text(statement))
