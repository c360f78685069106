from decimal import Decimal

import pytest

from app.agents.turns import Usage
from app.features.chats.domain.turn import Wish
from app.features.usage.domain.budget import Budgets, Limit
from app.infra.events.ports import EventType
from app.kernel.ids import ChatId, RunId
from tests.fakes.chat_slice import ANN, Slice

ONE = {Limit.REQUESTS: Decimal(1)}


async def a_turn(desk: Slice, chat_id: ChatId) -> RunId:
    """Ask, and wait until the run is over."""
    begun = await desk.exchange(ANN, chat_id, Wish("hello"))
    await desk.ended(begun.run_id)
    return begun.run_id


async def test_a_turn_is_paid_by_its_owner_and_comes_to_what_it_took() -> None:
    desk = Slice()
    chat = await desk.a_chat(agent="support")

    async with desk.working():
        run_id = await a_turn(desk, chat.id)

    (what,) = desk.ledger.settlements
    assert (what.payer.run_id, what.payer.user_id, what.payer.chat_id) == (run_id, "ann", chat.id)
    assert (what.payer.agent, what.model) == ("support", "scripted")
    assert desk.ledger.closed == {run_id: Usage(requests=1)}


async def test_a_turn_without_a_budget_fails_with_the_reason() -> None:
    desk = Slice(budgets=Budgets(chat=ONE))
    chat = await desk.a_chat()

    async with desk.working():
        await a_turn(desk, chat.id)
        begun = await desk.exchange(ANN, chat.id, Wish("and again"))
        events = await desk.ended(begun.run_id)

    assert events[-1].type is EventType.RUN_FAILED
    assert events[-1].data["error"] == {
        "type": "budget-exhausted",
        "detail": "The chat's budget of 1 model request is used up.",
    }
    assert await desk.said(chat.id) == [
        ("user", "hello", "complete"),
        ("assistant", "hello", "complete"),
        ("user", "and again", "failed"),
    ]
    assert desk.ledger.closed[begun.run_id] == Usage()


async def test_a_daily_budget_tells_the_run_when_to_come_again() -> None:
    desk = Slice(budgets=Budgets(user=ONE))
    chat = await desk.a_chat()

    async with desk.working():
        await a_turn(desk, chat.id)
        begun = await desk.exchange(ANN, chat.id, Wish("and again"))
        events = await desk.ended(begun.run_id)

    told = [event.data["retry_after"] for event in events if "retry_after" in event.data]
    assert len(told) == 1
    assert 0 < int(str(told[0])) <= 24 * 3600


@pytest.mark.parametrize("is_said", [True, False], ids=["while it answers", "before"])
async def test_what_a_cancelled_turn_had_set_aside_is_given_back(*, is_said: bool) -> None:
    desk = Slice(budgets=Budgets(user=ONE))
    chat = await desk.a_chat()
    desk.agents.hold()

    async with desk.working():
        begun = await desk.exchange(ANN, chat.id, Wish("hello"))
        if is_said:
            await desk.agents.is_asked.wait()
        await desk.engine.cancel(begun.run_id)
        await desk.ended(begun.run_id)

    assert desk.ledger.reservations == {}
    assert begun.run_id in desk.ledger.closed
