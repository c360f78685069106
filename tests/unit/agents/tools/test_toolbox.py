"""What may be called in a turn: an agent's own tools, those of its sources, and the same ones when the turn goes on."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from app.agents.contract import Asked, Overrides, Risk, Tool, ToolContext, Traits, Turn
from app.agents.llm.scripted import Call, ScriptedModel
from app.agents.tools.toolbox import VISIBLE_LIMIT
from tests.fakes.journal import Died, FakeJournal
from tests.unit.agents.desk import a_desk, a_turn, an_agent

SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
READING = Traits(risk=Risk.READS)


def a_tool(name: str, *, said: str = "done", traits: Traits = READING) -> Tool:
    async def call(ctx: ToolContext, arguments: Mapping[str, Any]) -> object:
        return {"said": said, "with": dict(arguments), "key": ctx.idempotency_key}

    return Tool(name, f"Does {name}.", SCHEMA, call, traits, origin="test")


class Source:
    """Gives what it is told to, to whoever asks; `asked` are those who did."""

    def __init__(self, *tools: Tool, fails: bool = False) -> None:
        self.given: Sequence[Tool] = tools
        self.fails = fails
        self.asked: list[Asked] = []

    async def tools(self, asked: Asked) -> Sequence[Tool]:
        self.asked.append(asked)
        if self.fails:
            raise OSError("inner secret")
        return self.given


async def one(ctx: ToolContext) -> str:
    """Does one."""
    return "own"


async def test_a_source_is_asked_for_each_turn_and_told_for_whom(journal: FakeJournal) -> None:
    source = Source(a_tool("other"))
    model = ScriptedModel(Call("other", {"name": "x"}), "Done.")
    async with a_desk(an_agent(tools=[one, source]), model=model) as desk:
        await desk.answer("helper", a_turn("Do it"), journal=journal, timeout_s=10)
        await desk.answer("helper", a_turn("Again"), journal=FakeJournal(), timeout_s=10)

    assert model.seen[0].tools == ("one", "other")
    assert '"with":{"name":"x"}' in model.seen[1].results[0]
    assert [(asked.agent.name, asked.turn.text) for asked in source.asked] == [("helper", "Do it"), ("helper", "Again")]


async def test_a_source_that_fails_costs_its_tools_and_not_the_turn(journal: FakeJournal) -> None:
    model = ScriptedModel("Done.")
    agent = an_agent(tools=[Source(fails=True), Source(a_tool("other"))])
    async with a_desk(agent, model=model) as desk:
        said = await desk.answer("helper", a_turn(), journal=journal, timeout_s=10)

    assert said.text == "Done."
    assert model.seen[0].tools == ("other",)


async def test_a_name_that_is_taken_or_no_name_is_left_out(journal: FakeJournal) -> None:
    source = Source(a_tool("one"), a_tool("a b"), a_tool("search_tools"), a_tool("x" * 65), a_tool("two", said="first"))
    model = ScriptedModel(Call("two", {"name": "x"}), "Done.")
    async with a_desk(an_agent(tools=[one, source, Source(a_tool("two", said="second"))]), model=model) as desk:
        await desk.answer("helper", a_turn(), journal=journal, timeout_s=10)

    assert model.seen[0].tools == ("one", "two")
    assert '"said":"first"' in model.seen[1].results[0]


async def test_a_turn_that_goes_on_has_the_tools_it_began_with(journal: FakeJournal) -> None:
    """What came to an end before is not called again; what is gone says so; what is new is not there."""
    source = Source(a_tool("stays"), a_tool("goes"))
    first = ScriptedModel(Call("goes", {"name": "1"}))
    journal.dies_at = 10_000
    async with a_desk(an_agent(tools=[source]), model=first) as desk:
        first._script.append(RuntimeError("the first process ends here"))
        with pytest.raises(Exception, match="error of its own"):
            await desk.answer("helper", a_turn(), journal=journal, timeout_s=10)

    source = Source(a_tool("new"), a_tool("stays"))
    model = ScriptedModel(Call("goes", {"name": "2"}), Call("stays", {"name": "3"}), "Done.")
    async with a_desk(an_agent(tools=[source]), model=model) as desk:
        said = await desk.answer("helper", a_turn(), journal=journal.resumed(), timeout_s=10)

    assert said.text == "Done."
    assert model.seen[0].tools == ("stays", "goes")
    kept, gone, done = model.seen[2].results
    assert '"with":{"name":"1"}' in kept
    assert "The tool goes is not there any more" in gone
    assert '"with":{"name":"3"}' in done


async def test_a_turn_that_dies_anywhere_has_the_same_tools() -> None:
    def model() -> ScriptedModel:
        return ScriptedModel(Call("other", {"name": "x"}), "Done.")

    whole = FakeJournal()
    async with a_desk(an_agent(tools=[Source(a_tool("other"))]), model=model()) as desk:
        await desk.answer("helper", a_turn(), journal=whole, timeout_s=10)

    for dies_at in range(1, whole.borders + 1):
        journal = FakeJournal(dies_at=dies_at)
        script = model()
        async with a_desk(an_agent(tools=[Source(a_tool("other"))]), model=script) as desk:
            with pytest.raises(Died):
                await desk.answer("helper", a_turn(), journal=journal, timeout_s=10)
            if not any(step.startswith("run/model#1") for step in journal.kept):
                script._script.clear()
                script._script.extend([Call("other", {"name": "x"}), "Done."])
            elif not script._script:
                script._script.append("Done.")
            said = await desk.answer("helper", a_turn(), journal=journal.resumed(), timeout_s=10)

        assert said.text == "Done.", dies_at
        assert said.usage.tool_calls == 1, dies_at


async def test_too_many_tools_are_searched_for(journal: FakeJournal) -> None:
    source = Source(*[a_tool(f"calendar_{number}") for number in range(VISIBLE_LIMIT)], a_tool("weather_forecast"))
    model = ScriptedModel(Call("search_tools", {"query": "weather"}), Call("weather_forecast", {"name": "x"}), "Done.")
    async with a_desk(an_agent(tools=[one, source]), model=model) as desk:
        said = await desk.answer("helper", a_turn(), journal=journal, timeout_s=10)

    assert said.text == "Done."
    assert model.seen[0].tools == ("search_tools", "one")
    assert model.seen[1].tools == ("search_tools", "one", "weather_forecast")
    assert '"with":{"name":"x"}' in model.seen[2].results[-1]


async def test_tools_that_would_fill_a_small_window_are_searched_for(journal: FakeJournal) -> None:
    wordy = Tool("wordy", "x" * 3000, SCHEMA, a_tool("wordy").call, READING, origin="test")
    model = ScriptedModel("Done.", "Done.", window_tokens=2900)
    async with a_desk(an_agent(tools=[one, Source(wordy)]), model=model) as desk:
        await desk.answer("helper", a_turn(), journal=journal, timeout_s=10)
    large = ScriptedModel("Done.")
    async with a_desk(an_agent(tools=[one, Source(wordy)]), model=large) as desk:
        await desk.answer("helper", a_turn(), journal=FakeJournal(), timeout_s=10)

    assert model.seen[0].tools == ("search_tools", "one")
    assert large.seen[0].tools == ("one", "wordy")


async def test_a_search_is_the_same_when_the_turn_goes_on(journal: FakeJournal) -> None:
    source = Source(*[a_tool(f"calendar_{number}") for number in range(VISIBLE_LIMIT)], a_tool("weather_forecast"))
    first = ScriptedModel(
        Call("search_tools", {"query": "weather"}), Call("weather_forecast", {"name": "x"}), RuntimeError("ends")
    )
    async with a_desk(an_agent(tools=[one, source]), model=first) as desk:
        with pytest.raises(Exception, match="error of its own"):
            await desk.answer("helper", a_turn(), journal=journal, timeout_s=10)

    model = ScriptedModel("Done.")
    async with a_desk(an_agent(tools=[one, source]), model=model) as desk:
        said = await desk.answer("helper", a_turn(), journal=journal.resumed(), timeout_s=10)

    assert said.text == "Done."
    assert len(journal.of("tool_call_complete")) == 2
    assert model.seen[0].tools == ("search_tools", "one", "weather_forecast")


async def test_what_an_override_fixes_is_neither_seen_nor_given_by_the_model(journal: FakeJournal) -> None:
    def whose(turn: Turn) -> str:
        return str(turn.caller.user_id)

    async def send(ctx: ToolContext, text: str, to: str, sender: str, footer: str = "") -> str:
        """Send a text."""
        return f"{text} to {to} from {sender}, {footer}"

    overrides: Mapping[str, Overrides] = {"send": {"to": "agent", "sender": "agent"}}
    fixed = Traits(risk=Risk.READS, overrides={"sender": whose})
    send.portico_traits = fixed  # type: ignore[attr-defined] # what the decorator does
    said: dict[str, object] = {"text": "hi", "to": "evil", "sender": "evil", "footer": "bye"}
    model = ScriptedModel(Call("send", said), "Done.")
    async with a_desk(an_agent(tools=[send], overrides=overrides), model=model) as desk:
        await desk.answer("helper", a_turn(), journal=journal, timeout_s=10)

    assert model.seen[1].results == ("hi to agent from 7, bye",)
    assert list(model.seen[0].parameters["send"]["properties"]) == ["text", "footer"]
    assert journal.of("tool_call_start")[0].data["arguments"] == {"text": "hi", "footer": "bye"}
