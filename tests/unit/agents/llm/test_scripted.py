"""The scripted model, streamed and whole."""

import pytest
from pydantic_ai import Agent, RunContext

from app.agents.llm.scripted import Call, ScriptedModel, Seen


async def test_without_a_script_it_shows_what_is_in_its_prompt() -> None:
    agent = Agent(ScriptedModel())

    first = await agent.run("I am Anna")
    second = await agent.run("Who am I?", message_history=first.all_messages())

    assert first.output == "You said: I am Anna (turn 1)"
    assert second.output == "You said: Who am I? (turn 2; the first thing you said: I am Anna)"


@pytest.mark.parametrize("text", ["one", "one two  three", " led", "trailing "])
async def test_a_streamed_answer_is_the_same_text(text: str) -> None:
    async with Agent(ScriptedModel(text)).run_stream_events("go") as events:
        async for _ in events:
            pass

    assert events.result is not None
    assert events.result.output == text


async def test_a_streamed_tool_call_is_made() -> None:
    model = ScriptedModel(Call("add", {"a": 2, "b": 3}), "done")
    agent = Agent(model)

    @agent.tool
    async def add(ctx: RunContext[object], a: int, b: int) -> int:
        return a + b

    async with agent.run_stream_events("2+3?") as events:
        async for _ in events:
            pass

    assert model.seen[-1].results == ("5",)


async def test_a_step_may_be_code() -> None:
    async def count(seen: Seen) -> str:
        return f"{len(seen.messages)} messages, at most {seen.max_tokens} tokens"

    result = await Agent(ScriptedModel(count)).run("go", model_settings={"max_tokens": 7})

    assert result.output == "1 messages, at most 7 tokens"


async def test_a_step_may_fail() -> None:
    with pytest.raises(ConnectionError):
        await Agent(ScriptedModel(ConnectionError())).run("go")
