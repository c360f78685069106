"""A long result is shown by its beginning, and read on in, also when the turn goes on in another process."""

import json

import pytest

from app.agents.contract import ToolContext
from app.agents.llm.scripted import Call, ScriptedModel
from app.agents.tools.outputs import PAGE_CHARS, SHOWN_LIMIT_CHARS
from tests.fakes.journal import FakeJournal
from tests.unit.agents.desk import a_desk, a_turn, an_agent

LONG = "".join(chr(ord("a") + at % 26) for at in range(SHOWN_LIMIT_CHARS + 1))


async def recite(ctx: ToolContext) -> str:
    """Give a long text."""
    return LONG


def reading(handle: str, offset: object) -> Call:
    return Call("read_output", {"handle": handle, "offset": offset})


async def test_the_rest_of_a_long_result_is_read_by_its_handle(journal: FakeJournal) -> None:
    model = ScriptedModel(Call("recite", {}), reading("output-1", PAGE_CHARS), "Done.")
    async with a_desk(an_agent(tools=[recite]), model=model) as desk:
        await desk.answer("helper", a_turn(), journal=journal, timeout_s=10)

    assert [seen.tools for seen in model.seen] == [("recite",), ("recite", "read_output"), ("recite", "read_output")]
    first, second = (json.loads(result) for result in model.seen[2].results)
    assert first["text"] + second["text"] == LONG
    assert f"read_output(handle='output-1', offset={PAGE_CHARS}) reads on" in first["shown"]
    assert "this is its end" in second["shown"]


async def test_a_turn_that_goes_on_reads_on_in_what_was_kept(journal: FakeJournal) -> None:
    async with a_desk(an_agent(tools=[recite]), model=ScriptedModel(Call("recite", {}), OSError("ends"))) as desk:
        with pytest.raises(Exception, match="error of its own"):
            await desk.answer("helper", a_turn(), journal=journal, timeout_s=10)

    model = ScriptedModel(reading("output-1", PAGE_CHARS), "Done.")
    async with a_desk(an_agent(tools=[recite]), model=model) as desk:
        await desk.answer("helper", a_turn(), journal=journal.resumed(), timeout_s=10)

    assert json.loads(model.seen[1].results[1])["text"] == LONG[PAGE_CHARS:]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (reading("output-9", 0), "no such handle"),
        (reading("output-1", 10**9), "It ends at character"),
        (reading("output-1", -1), "a number from 0"),
        (reading("output-1", "x"), "a number from 0"),
    ],
    ids=["handle", "behind", "before", "text"],
)
async def test_what_cannot_be_read_is_said(journal: FakeJournal, call: Call, words: str) -> None:
    model = ScriptedModel(Call("recite", {}), call, "Done.")
    async with a_desk(an_agent(tools=[recite]), model=model) as desk:
        await desk.answer("helper", a_turn(), journal=journal, timeout_s=10)

    assert words in model.seen[2].results[1]
