"""What a turn says on its way, and that it comes to what it gives back."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from pydantic_ai.messages import ModelMessagesTypeAdapter

from app.agents.contract import ToolContext, ToolRefused, Turn
from app.agents.llm.kept import MESSAGES_LIMIT_BYTES
from app.agents.llm.scripted import Call as ScriptedCall
from app.agents.llm.scripted import ScriptedModel
from app.agents.turns import Said, TurnEvent
from app.infra.events.ports import EventType
from tests.fakes.journal import FakeJournal
from tests.model_server import Call, Drop, Hold, ModelServer, Think
from tests.unit.agents.desk import a_desk, a_turn, an_agent, an_exchange
from tests.unit.agents.served import a_served_desk


async def look_up(ctx: ToolContext, order_id: int) -> dict[str, int]:
    """Look an order up."""
    await ctx.show(f"looking for {order_id}")
    return {"id": order_id}


async def test_each_piece_of_a_models_answer_is_told_as_it_comes(server: ModelServer, journal: FakeJournal) -> None:
    server.script(["Hel", Hold(), "lo", " there"])
    async with a_served_desk(server) as desk, asyncio.TaskGroup() as group:
        turn = group.create_task(desk.answer("helper", a_turn(), journal=journal, timeout_s=30))
        await journal.is_told.wait()

        assert journal.told == [TurnEvent("text_delta", {"request": 1, "text": "Hel"})]
        server.release()
        said = await turn

    assert [event.data["text"] for event in journal.of("text_delta")] == ["Hel", "lo", " there"]
    assert said.text == journal.fold.text == "Hello there"


async def test_thoughts_are_told_and_are_no_part_of_the_answer(server: ModelServer, journal: FakeJournal) -> None:
    server.script([Think("I should "), Think("greet."), "Hi", "."])
    async with a_served_desk(server) as desk:
        said = await desk.answer("helper", a_turn(), journal=journal, timeout_s=30)

    assert [event.data["text"] for event in journal.of("thinking_delta")] == ["I should ", "greet."]
    assert said.text == journal.fold.text == "Hi."


async def test_a_tool_call_is_told_from_start_to_end_between_the_texts(
    server: ModelServer, journal: FakeJournal
) -> None:
    server.script(["Let me look.", Call("look_up", {"order_id": 7})], ["It is ", "there."])
    async with a_served_desk(server, look_up) as desk:
        said = await desk.answer("helper", a_turn(), journal=journal, timeout_s=30)

    assert journal.types == [
        *("text_delta", "usage", "tool_call_start", "tool_output_chunk", "tool_call_complete"),
        *("text_delta", "text_delta", "usage"),
    ]
    start, shown, complete = journal.told[2:5]
    call_id = start.data["tool_call_id"]
    assert start.data == {"request": 1, "tool_call_id": call_id, "tool": "look_up", "arguments": {"order_id": 7}}
    assert shown.data == {"tool_call_id": call_id, "text": "looking for 7"}
    assert complete.data == {"tool_call_id": call_id, "tool": "look_up", "is_error": False, "result": {"id": 7}}
    assert said.text == journal.fold.text == "Let me look.\n\nIt is there."


async def refusing(ctx: ToolContext) -> str:
    """Refuse."""
    raise ToolRefused("only on Mondays")


async def test_a_refused_call_is_told_as_an_error(server: ModelServer, journal: FakeJournal) -> None:
    server.script([Call("refusing")], ["I see."])
    async with a_served_desk(server, refusing) as desk:
        await desk.answer("helper", a_turn(), journal=journal, timeout_s=30)

    (complete,) = journal.of("tool_call_complete")
    assert (complete.data["is_error"], complete.data["result"]) == (True, "only on Mondays")


async def test_what_a_call_shows_is_bounded(server: ModelServer, journal: FakeJournal) -> None:
    async def chatty(ctx: ToolContext, word: str) -> str:
        """Chat."""
        for _ in range(100):
            await ctx.show("x" * 10_000)
        return "y" * 60_000

    server.script([Call("chatty", {"word": "z" * 60_000})], ["Done."])
    async with a_served_desk(server, chatty) as desk:
        await desk.answer("helper", a_turn(), journal=journal, timeout_s=30)

    assert sum(len(str(event.data["text"])) for event in journal.of("tool_output_chunk")) == 64 * 1024
    assert all(len(repr(event.data)) < 64 * 1024 for event in journal.told)


async def test_each_request_tells_what_it_took_and_the_turn_their_sum(
    server: ModelServer, journal: FakeJournal
) -> None:
    server.script([Call("look_up", {"order_id": 7})], ["It is ", "there."])
    async with a_served_desk(server, look_up, name="gpt-4o") as desk:
        said = await desk.answer("helper", a_turn("two words"), journal=journal, timeout_s=30)

    first, second = journal.of("usage")
    assert (first.data["request"], first.data["model"], first.data["is_estimated"]) == (1, "gpt-4o", False)
    assert second.data["output_tokens"] == 2
    assert said.usage == journal.fold.usage
    assert said.usage.cost is not None
    assert said.usage.cost > 0
    assert (said.usage.requests, said.usage.tool_calls, said.model) == (2, 1, "gpt-4o")


async def test_what_a_provider_does_not_say_is_estimated(server: ModelServer, journal: FakeJournal) -> None:
    server.gives_usage = False
    async with a_served_desk(server) as desk:
        said = await desk.answer("helper", a_turn("hello there"), journal=journal, timeout_s=30)

    (usage,) = journal.of("usage")
    assert usage.data["is_estimated"]
    assert said.usage.input_tokens > 2
    assert said.usage.output_tokens > 2


async def test_a_price_that_is_not_known_is_none(server: ModelServer, journal: FakeJournal) -> None:
    async with a_served_desk(server, name="of-nobody") as desk:
        said = await desk.answer("helper", a_turn(), journal=journal, timeout_s=30)

    assert said.usage.cost is None
    assert journal.of("usage")[0].data["cost"] is None


async def test_every_word_a_turn_says_is_one_of_the_events(server: ModelServer, journal: FakeJournal) -> None:
    server.script(["Hm", Drop()], [Think("I should"), Call("look_up", {"order_id": 7})], ["Done."])
    async with a_served_desk(server, look_up) as desk:
        await desk.answer("helper", a_turn(), journal=journal, timeout_s=30)

    assert set(journal.types) == {
        *("text_delta", "thinking_delta", "stream_retry", "usage"),
        *("tool_call_start", "tool_output_chunk", "tool_call_complete"),
    }
    assert set(journal.types) <= set(EventType)


class Pieces:
    name = "pieces"

    def __init__(self, *pieces: str) -> None:
        self._pieces = pieces

    async def generate(self, turn: Turn) -> AsyncIterator[str]:
        for piece in self._pieces:
            yield piece


async def test_the_pieces_of_an_agent_of_code_are_told_as_they_come(journal: FakeJournal) -> None:
    async with a_desk(Pieces("Hel", "", "lo\0")) as desk:
        said = await desk.answer("pieces", a_turn(), journal=journal, timeout_s=30)

    assert journal.told == [TurnEvent("text_delta", {"request": 1, "text": piece}) for piece in ("Hel", "lo")]
    assert said == Said("Hello")


@pytest.mark.parametrize(
    "pieces",
    [["a\0b", "\0"], ["\ud83d", "\ude00!"], [" ", "\n", "x"], ["", "x", ""]],
    ids=["nul", "halves of a pair", "blank first", "empty"],
)
async def test_what_was_told_is_what_is_given_back(
    server: ModelServer, journal: FakeJournal, pieces: list[str]
) -> None:
    server.script([*pieces, Call("look_up", {"order_id": 7})], pieces)
    async with a_served_desk(server, look_up) as desk:
        said = await desk.answer("helper", a_turn(), journal=journal, timeout_s=30)

    assert said.text == journal.fold.text
    assert said.text.encode()
    assert "\0" not in said.text


async def test_the_messages_of_the_turn_are_given_back_without_the_history(
    server: ModelServer, journal: FakeJournal
) -> None:
    server.script([Think("Hm."), Call("look_up", {"order_id": 7})], ["Done."])
    async with a_served_desk(server, look_up) as desk:
        turn = a_turn("And now?", history=an_exchange("Before", "Yes."))
        said = await desk.answer("helper", turn, journal=journal, timeout_s=30)

    messages = ModelMessagesTypeAdapter.validate_python(said.messages)
    assert [part.part_kind for message in messages for part in message.parts] == [
        *("user-prompt", "thinking", "tool-call", "tool-return", "text"),
    ]


async def test_the_messages_of_a_turn_are_bounded(journal: FakeJournal) -> None:
    async def bulky(ctx: ToolContext) -> str:
        """Give much."""
        return "x" * 60_000

    model = ScriptedModel(*[ScriptedCall("bulky", {})] * 10, "Done.", window_tokens=1_000_000)
    async with a_desk(an_agent(tools=[bulky]), model=model) as desk:
        said = await desk.answer("helper", a_turn(), journal=journal, timeout_s=30)

    assert len(json.dumps(said.messages)) <= MESSAGES_LIMIT_BYTES
    assert len(ModelMessagesTypeAdapter.validate_python(said.messages)) == 22


async def test_the_scripted_model_streams_word_by_word_alike_each_time() -> None:
    model = ScriptedModel(*["Hello there, Ann."] * 3)
    async with a_desk(an_agent(), model=model) as desk:
        told = []
        for _ in range(3):
            journal = FakeJournal()
            await desk.answer("helper", a_turn(), journal=journal, timeout_s=10)
            told.append([event.data["text"] for event in journal.of("text_delta")])

    assert told == [["Hello", " there,", " Ann."]] * 3
