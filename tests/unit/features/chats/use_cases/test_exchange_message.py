import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from app.agents.contract import (
    AgentFailed,
    AgentNotFound,
    AgentTimedOut,
    ModelNotConfigured,
    ModelUnavailable,
    PastMessage,
    Turn,
)
from app.features.chats.domain.chat import ChatBusy, ChatNotFound
from app.features.chats.domain.message import ANSWER_LIMIT_CHARS, MessageChange, MessageRole, MessageStatus, TurnLost
from app.features.chats.ports import Snapshot
from app.kernel.errors import Unavailable, ValidationFailed
from app.kernel.ids import ChatId
from tests.fakes.agents import Reply, ScriptedAgents
from tests.fakes.chat_slice import ADMIN, ANN, BEN, Slice, until
from tests.fakes.chats import Lease

FAILURES = [
    AgentFailed(),
    AgentTimedOut(),
    ModelNotConfigured(),
    ModelUnavailable(),
    AgentNotFound(),
    RuntimeError("a bug in the agent"),
]


@asynccontextmanager
async def thinking(desk: Slice, chat_id: ChatId) -> AsyncIterator[asyncio.Task[object]]:
    """An exchange that is waiting for its agent."""
    desk.agents.hold()
    async with asyncio.TaskGroup() as group:
        task: asyncio.Task[object] = group.create_task(outcome(desk, chat_id))
        await asyncio.wait_for(desk.agents.is_asked.wait(), 5)
        yield task


async def outcome(desk: Slice, chat_id: ChatId) -> object:
    try:
        return await desk.exchange(ANN, chat_id, "first")
    except Exception as error:  # noqa: BLE001 - the test looks at it
        return error


async def test_stores_and_returns_both_sides() -> None:
    desk = Slice(agents=ScriptedAgents(["hi, Ann"]))
    chat = await desk.a_chat()

    exchange = await desk.exchange(ANN, chat.id, "hello")

    assert (exchange.question.role, exchange.question.content) == (MessageRole.USER, "hello")
    assert (exchange.answer.role, exchange.answer.content) == (MessageRole.ASSISTANT, "hi, Ann")
    assert await desk.said(chat.id) == [("user", "hello", "complete"), ("assistant", "hi, Ann", "complete")]


async def test_asks_the_default_agent_in_the_callers_name() -> None:
    desk = Slice()
    chat = await desk.a_chat()

    await desk.exchange(ANN, chat.id, "hello", request_id="r1")

    assert desk.agents.asked == [("echo", Turn(chat.id, "hello", ANN, request_id="r1"))]
    assert desk.agents.timeouts_s == [60]


async def test_asks_the_agent_the_chat_names() -> None:
    desk = Slice()
    chat = await desk.a_chat(agent="support")

    await desk.exchange(ANN, chat.id, "hello")

    assert desk.agents.asked[0][0] == "support"


async def test_the_agent_sees_earlier_turns_in_order_and_nothing_left_out() -> None:
    desk = Slice()
    chat = await desk.a_chat()
    await desk.exchange(ANN, chat.id, "one")
    hidden = (await desk.exchange(ANN, chat.id, "two")).question
    async with desk.begin() as tx:
        await desk.messages.update(tx, hidden.id, MessageChange(in_prompt=False))

    await desk.exchange(ANN, chat.id, "three")

    assert desk.agents.last_turn.text == "three"
    assert desk.agents.last_turn.history == (
        PastMessage("user", "one"),
        PastMessage("assistant", "one"),
        PastMessage("assistant", "two"),
    )


async def test_a_long_chat_is_shown_from_a_turns_beginning() -> None:
    desk = Slice()
    chat = await desk.a_chat()
    for number in range(150):
        await desk.a_message(chat, f"question {number}")
        await desk.a_message(chat, f"answer {number}", role=MessageRole.ASSISTANT)
    await desk.a_message(chat, "and another thing")

    await desk.exchange(ANN, chat.id, "now")

    history = desk.agents.last_turn.history
    assert len(history) == 199
    assert history[0] == PastMessage("user", "question 51")


@pytest.mark.parametrize("caller", [BEN, ADMIN], ids=["another person", "an admin"])
async def test_nobody_but_the_owner_may(caller: object) -> None:
    desk = Slice()
    chat = await desk.a_chat(ANN)

    with pytest.raises(ChatNotFound):
        await desk.exchange(caller, chat.id, "hello")  # type: ignore[arg-type]

    assert desk.agents.asked == []
    assert await desk.said(chat.id) == []
    assert desk.world.state.leases == {}


@pytest.mark.parametrize("text", ["", "x" * 100_001, "a\0b", "\ud83d"], ids=["empty", "long", "nul", "surrogate"])
async def test_what_cannot_be_stored_is_refused_before_anything_else(text: str) -> None:
    desk = Slice()

    with pytest.raises(ValidationFailed) as refused:
        await desk.exchange(ANN, ChatId(404), text)

    assert [error.field for error in refused.value.errors] == ["content"]


async def test_the_hook_gets_the_message_once_it_is_stored() -> None:
    desk = Slice()
    chat = await desk.a_chat()

    await desk.exchange(ANN, chat.id, "hello", request_id="r1")

    assert desk.hook.captured == [Snapshot(ANN.user_id, chat.id, "hello", "r1")]


async def test_no_transaction_is_open_while_the_agent_thinks() -> None:
    desk = Slice()
    chat = await desk.a_chat()

    async with thinking(desk, chat.id) as task:
        assert desk.world.open_transactions == 0
        assert await desk.said(chat.id) == [("user", "first", "pending")]
        desk.agents.release()
        await task


async def test_a_second_turn_is_refused_at_once_and_leaves_nothing() -> None:
    desk = Slice()
    chat = await desk.a_chat()

    async with thinking(desk, chat.id) as task:
        with pytest.raises(ChatBusy):
            await desk.exchange(ANN, chat.id, "second")
        desk.agents.release()
        await task

    assert await desk.said(chat.id) == [("user", "first", "complete"), ("assistant", "first", "complete")]
    assert len(desk.hook.captured) == 1


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
async def test_a_failing_agent_leaves_the_question_marked_and_the_chat_usable(failure: Exception) -> None:
    cause = OSError("the model's host is gone")
    failure.__cause__ = cause
    desk = Slice(agents=ScriptedAgents([failure]))
    chat = await desk.a_chat()

    with pytest.raises(type(failure)) as raised:
        await desk.exchange(ANN, chat.id, "first")

    assert raised.value is failure
    assert raised.value.__cause__ is cause
    assert await desk.said(chat.id) == [("user", "first", "failed")]
    await desk.exchange(ANN, chat.id, "second")
    assert desk.agents.last_turn.history == ()


@pytest.mark.parametrize("reply", ["", "x" * (ANSWER_LIMIT_CHARS + 1)], ids=["empty", "too long"])
async def test_an_answer_that_cannot_be_kept_is_a_failure_of_the_agent(reply: Reply) -> None:
    desk = Slice(agents=ScriptedAgents([reply]))
    chat = await desk.a_chat()

    with pytest.raises(AgentFailed):
        await desk.exchange(ANN, chat.id, "first")

    assert await desk.said(chat.id) == [("user", "first", "failed")]


async def test_characters_of_an_answer_that_cannot_be_stored_are_replaced() -> None:
    desk = Slice(agents=ScriptedAgents(["a\0b\ud83d"]))
    chat = await desk.a_chat()

    exchange = await desk.exchange(ANN, chat.id, "first")

    assert exchange.answer.content == "a�b�"


async def test_a_cancelled_exchange_frees_the_chat_and_marks_the_question() -> None:
    desk = Slice()
    chat = await desk.a_chat()

    async with thinking(desk, chat.id) as task:
        task.cancel()

    assert task.cancelled()
    assert desk.world.state.leases == {}
    assert await desk.said(chat.id) == [("user", "first", "interrupted")]


async def test_a_turn_taken_over_meanwhile_stores_no_answer() -> None:
    desk = Slice()
    chat = await desk.a_chat()

    async with thinking(desk, chat.id) as task:
        successor = Lease(uuid4(), datetime.now(UTC) + timedelta(seconds=30))
        desk.world.state.leases[chat.id] = successor
        desk.agents.release()
        lost = await task

    assert isinstance(lost, TurnLost)
    assert [role for role, _, _ in await desk.said(chat.id)] == ["user"]
    assert desk.world.state.leases == {chat.id: successor}


async def test_a_chat_deleted_meanwhile_gets_no_answer_and_is_free_when_restored() -> None:
    desk = Slice()
    chat = await desk.a_chat()

    async with thinking(desk, chat.id) as task:
        async with desk.begin() as tx:
            await desk.chats.delete(tx, chat.id)
        desk.agents.release()
        lost = await task

    assert isinstance(lost, TurnLost)
    async with desk.begin() as tx:
        await desk.chats.restore(tx, chat.id)
    assert await desk.said(chat.id) == [("user", "first", "interrupted")]
    await desk.exchange(ANN, chat.id, "again")


async def test_the_lease_is_renewed_while_the_agent_thinks() -> None:
    desk = Slice(renew_every_s=0.001)
    chat = await desk.a_chat()

    async with thinking(desk, chat.id) as task:
        taken = desk.world.state.leases[chat.id]
        await until(lambda: desk.world.state.leases[chat.id].until > taken.until)
        desk.agents.release()
        await task

    assert desk.world.state.leases == {}


async def test_an_agent_is_stopped_as_soon_as_its_turn_is_lost() -> None:
    desk = Slice(renew_every_s=0.001)
    chat = await desk.a_chat()

    async with thinking(desk, chat.id) as task:
        lease = desk.world.state.leases[chat.id]
        desk.world.state.leases[chat.id] = replace(lease, turn_id=uuid4())
        lost = await asyncio.wait_for(task, 5)

    assert isinstance(lost, TurnLost)


async def test_a_database_that_is_away_for_one_renewal_costs_nothing() -> None:
    desk = Slice(renew_every_s=0.001)
    chat = await desk.a_chat()

    async with thinking(desk, chat.id) as task:
        desk.world.failures.append(Unavailable())
        await until(lambda: not desk.world.failures)
        desk.agents.release()
        await task

    assert await desk.said(chat.id) == [("user", "first", "complete"), ("assistant", "first", "complete")]


async def test_a_database_gone_for_good_leaves_the_question_to_the_next_turn() -> None:
    desk = Slice()
    chat = await desk.a_chat()

    async with thinking(desk, chat.id) as task:
        desk.world.failures += [Unavailable(), Unavailable()]
        desk.agents.release()
        failed = await task

    assert isinstance(failed, Unavailable)
    assert await desk.said(chat.id) == [("user", "first", "pending")]
    lease = desk.world.state.leases[chat.id]
    desk.world.state.leases[chat.id] = replace(lease, until=datetime.now(UTC) - timedelta(seconds=1))
    await desk.exchange(ANN, chat.id, "second")
    statuses = [status for _, _, status in await desk.said(chat.id)]
    assert statuses == [MessageStatus.INTERRUPTED, MessageStatus.COMPLETE, MessageStatus.COMPLETE]
