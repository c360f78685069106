"""What a client tells beside the user's words: shown to the model in that turn, in a frame of its own."""

from dataclasses import replace

from app.agents.llm.scripted import ScriptedModel
from app.agents.llm.told import FRAME, told_of
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
