"""What a client tells beside the user's words: shown to the model in that turn, in a frame of its own."""

from dataclasses import replace

import pytest

from app.agents.contract import TurnTooLong
from app.agents.llm.scripted import ScriptedModel
from app.agents.llm.told import FRAME, PINNED, pinned_of, told_of
from tests.fakes.journal import FakeJournal
from tests.unit.agents.desk import a_desk, a_turn, an_agent, an_exchange


async def test_what_the_client_tells_is_seen_in_that_turn_apart_from_the_users_words() -> None:
    model = ScriptedModel("one", "two")
    turn = replace(a_turn("Hello"), context={"page": "orders/7"}, channel="whatsapp")
    async with a_desk(an_agent(), model=model) as desk:
        await desk.answer("helper", turn, journal=FakeJournal(), timeout_s=30)
        later = a_turn("And now?", history=an_exchange("Hello", "one"))
        await desk.answer("helper", later, journal=FakeJournal(), timeout_s=30)

    first, second = model.seen
    assert first.said_by_user == ("Hello",)
    (told,) = [message.content for message in first.messages if message.role == "system"]
    assert told.startswith(FRAME)
    assert '"channel":"whatsapp"' in told
    assert '"page":"orders/7"' in told
    assert "orders/7" not in str(second.messages)


def test_a_client_that_tells_nothing_adds_nothing() -> None:
    assert told_of(a_turn("Hello")) == ""


async def test_what_is_pinned_stands_with_the_instructions_and_not_in_what_was_said() -> None:
    model = ScriptedModel("one", "two")
    async with a_desk(an_agent(), model=model) as desk:
        await desk.answer("helper", replace(a_turn(), pinned="Act I\n"), journal=FakeJournal(), timeout_s=30)
        await desk.answer("helper", a_turn(), journal=FakeJournal(), timeout_s=30)

    first, second = model.seen
    assert first.instructions == f"Help.\n\n{PINNED}\n\n<pinned>\nAct I\n\n</pinned>"
    assert first.messages == second.messages
    assert second.instructions == "Help."


async def test_what_is_pinned_takes_room_from_the_history() -> None:
    model = ScriptedModel("one", window_tokens=2000)
    history = [message for number in range(40) for message in an_exchange(f"question {number}", "x" * 60)]
    async with a_desk(an_agent(), model=model) as desk:
        turn = replace(a_turn(history=history), pinned="word " * 600)
        await desk.answer("helper", turn, journal=FakeJournal(), timeout_s=30)

    seen = model.seen[-1]
    assert "word word" in seen.instructions
    assert len(seen.messages) < len(history)


def test_white_space_is_nothing_pinned() -> None:
    assert pinned_of(replace(a_turn(), pinned=" \n")) == ""


async def test_what_is_pinned_and_does_not_fit_is_named() -> None:
    async with a_desk(an_agent(), model=ScriptedModel("one", window_tokens=2000)) as desk:
        turn = replace(a_turn(), pinned="x" * 32_000)
        with pytest.raises(TurnTooLong, match="what is pinned to the chat"):
            await desk.answer("helper", turn, journal=FakeJournal(), timeout_s=30)
