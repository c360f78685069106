"""A provider that breaks off: its stream is taken up again within bounds, and what was told of it is void."""

from collections.abc import Sequence

import pytest

from app.agents.contract import AgentFailed, ModelUnavailable, ToolContext
from app.agents.llm.model_step import ATTEMPTS, UNSAID_LIMIT_CHARS
from app.agents.llm.scripted import Call as ScriptedCall
from app.agents.llm.scripted import ScriptedModel
from app.agents.turns import STEP_LIMIT_BYTES
from app.agents.work import ANSWER_LIMIT_CHARS
from app.infra.durable.limits import MAX_STEP_BYTES
from app.kernel.errors import Fault
from tests.fakes.journal import FakeJournal, FakeSpending
from tests.model_server import Call, Drop, Failure, ModelServer, Part, Think, Trouble
from tests.unit.agents.desk import a_desk, a_turn, an_agent
from tests.unit.agents.served import a_served_desk

BREAKS: dict[str, Sequence[Part]] = {
    "cut": ["Hel", Drop()],
    "cut before a word": [Drop()],
    "cut in a thought": [Think("Hm"), Drop()],
    "cut in a call": ["Hel", Call("look_up", '{"order_'), Drop()],
    "ended politely": ["Hel", Drop(is_clean=True)],
    "ended politely before a word": [Drop(is_clean=True)],
    "error in the stream": ["Hel", Trouble()],
    "error before a word": [Trouble("overloaded", "overloaded_error")],
}


@pytest.mark.parametrize("broken", BREAKS.values(), ids=BREAKS.keys())
async def test_a_stream_that_breaks_is_taken_up_again(
    server: ModelServer, journal: FakeJournal, broken: Sequence[Part]
) -> None:
    server.script(broken, broken, ["Hello", "."])
    async with a_served_desk(server) as desk:
        said = await desk.answer("helper", a_turn(), journal=journal, timeout_s=30)

    retries = [event.data for event in journal.of("stream_retry")]
    assert retries == [
        {"request": 1, "reason": "broken_off", "attempt": attempt, "attempts": ATTEMPTS} for attempt in (2, 3)
    ]
    assert said.text == journal.fold.text == "Hello."
    assert len(server.requests) == ATTEMPTS


@pytest.mark.parametrize("broken", BREAKS.values(), ids=BREAKS.keys())
async def test_a_stream_that_breaks_every_time_is_given_up(
    server: ModelServer, journal: FakeJournal, broken: Sequence[Part]
) -> None:
    server.script(*[broken] * (ATTEMPTS + 1))
    async with a_served_desk(server) as desk:
        with pytest.raises(ModelUnavailable, match="broke off its answer 3 times"):
            await desk.answer("helper", a_turn(), journal=journal, timeout_s=30)

    assert len(server.requests) == ATTEMPTS
    assert len(journal.of("stream_retry")) == ATTEMPTS - 1


async def test_what_a_broken_stream_took_is_told_and_counted(server: ModelServer, journal: FakeJournal) -> None:
    spending = FakeSpending()
    server.script(["Hel", Drop()], ["Hello", "."])
    async with a_served_desk(server) as desk:
        said = await desk.answer("helper", a_turn("hi there"), journal=journal, timeout_s=30, spending=spending)

    broken, whole = journal.of("usage")
    assert broken.data["is_estimated"]
    assert not whole.data["is_estimated"]
    assert said.usage == journal.fold.usage
    assert said.usage.requests == 2
    assert [key for key, _ in spending.settled] == ["run/model#1.1", "run/model#1.2"]
    assert not spending.open


async def test_only_the_request_that_broke_is_void(server: ModelServer, journal: FakeJournal) -> None:
    async def look_up(ctx: ToolContext) -> str:
        """Look."""
        return "found"

    server.script(["Let me look.", Call("look_up")], ["It i", Drop()], ["It is there."])
    async with a_served_desk(server, look_up) as desk:
        said = await desk.answer("helper", a_turn(), journal=journal, timeout_s=30)

    assert said.text == journal.fold.text == "Let me look.\n\nIt is there."
    assert len(journal.of("tool_call_start")) == 1


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
async def test_a_request_that_was_refused_is_left_to_the_sdk(
    server: ModelServer, journal: FakeJournal, status: int
) -> None:
    spending = FakeSpending()
    server.script(Failure(status), ["never"])
    async with a_served_desk(server) as desk:
        with pytest.raises(Fault):
            await desk.answer("helper", a_turn(), journal=journal, timeout_s=30, spending=spending)

    (usage,) = journal.of("usage")
    assert (usage.data["input_tokens"], usage.data["output_tokens"], usage.data["is_estimated"]) == (0, 0, False)
    assert not journal.of("stream_retry")
    assert not spending.open
    assert len(server.requests) == 1


async def test_an_endless_answer_is_cut_off(server: ModelServer, journal: FakeJournal) -> None:
    server.script(["x" * 4096] * (ANSWER_LIMIT_CHARS // 4096 + 2))
    async with a_served_desk(server) as desk:
        with pytest.raises(AgentFailed, match="longer"):
            await desk.answer("helper", a_turn(), journal=journal, timeout_s=30)

    assert len(journal.fold.text) <= ANSWER_LIMIT_CHARS


async def test_long_thoughts_are_not_told_to_their_end(server: ModelServer, journal: FakeJournal) -> None:
    server.script([*[Think("x" * 4096)] * (ANSWER_LIMIT_CHARS // 4096 + 20), "Done."])
    async with a_served_desk(server) as desk:
        said = await desk.answer("helper", a_turn(), journal=journal, timeout_s=30)

    assert said.text == "Done."
    assert sum(len(str(event.data["text"])) for event in journal.of("thinking_delta")) <= ANSWER_LIMIT_CHARS + 4096


ENDLESS: dict[str, Sequence[Part]] = {
    "thoughts": [*[Think("x" * 8192)] * (UNSAID_LIMIT_CHARS // 8192 + 2), "never"],
    "arguments": [Call("look_up", '{"a": "' + "x" * (2 * UNSAID_LIMIT_CHARS) + '"}')],
    "what JSON escapes": [*[Think("\x01" * 8192)] * (UNSAID_LIMIT_CHARS // 8192 - 2), "never"],
}


@pytest.mark.parametrize("parts", ENDLESS.values(), ids=ENDLESS.keys())
async def test_more_than_a_step_keeps_is_cut_off(
    server: ModelServer, journal: FakeJournal, parts: Sequence[Part]
) -> None:
    async def look_up(ctx: ToolContext, a: str) -> str:
        """Look."""
        return "never"

    server.script(parts)
    async with a_served_desk(server, look_up) as desk:
        with pytest.raises(AgentFailed, match="more than a turn keeps"):
            await desk.answer("helper", a_turn(), journal=journal, timeout_s=30)

    assert not journal.kept
    assert len(server.requests) == 1


def test_a_step_of_a_turn_is_not_larger_than_the_engine_keeps() -> None:
    assert STEP_LIMIT_BYTES <= MAX_STEP_BYTES


async def test_a_model_that_says_nothing_is_asked_once_more_and_joins_on(journal: FakeJournal) -> None:
    async def look(ctx: ToolContext) -> str:
        """Look."""
        return "seen"

    model = ScriptedModel("", ScriptedCall("look", {}), "Done.")
    async with a_desk(an_agent(tools=[look]), model=model) as desk:
        said = await desk.answer("helper", a_turn(), journal=journal, timeout_s=30)

    assert said.text == journal.fold.text == "Done."
