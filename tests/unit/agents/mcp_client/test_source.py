"""Turns whose agent names MCP servers: what their model is shown, and what becomes of a turn when one goes away."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from pydantic_ai.messages import ModelMessage, ToolReturnPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, DeltaToolCalls, FunctionModel

from app.agents.contract import Asked, ToolRefused
from app.agents.llm.scripted import Call, ScriptedModel
from app.agents.mcp_client.connection import State
from app.agents.mcp_client.servers import McpServers
from app.agents.mcp_client.source import McpTools
from app.agents.turns import Unwritten
from tests.fakes.front_door import FakeFrontDoor
from tests.fakes.journal import Died, FakeJournal
from tests.unit.agents.desk import a_desk, a_turn, an_agent
from tests.unit.agents.mcp_client.rig import call, kept, old, says, small, tools_of, until


async def test_an_agent_sees_the_servers_it_names_and_no_other() -> None:
    model = ScriptedModel("hello", "hello")
    server = small(tools=("add", "wipe", "fail"), denied_tools=("wi*",))
    async with kept(server) as client:
        await until_open(client)
        agents = an_agent("one", mcp_servers=["small", "elsewhere"]), an_agent("two")
        async with a_desk(*agents, model=model, sources=[McpTools(client)]) as desk:
            for name in ("one", "two"):
                await desk.answer(name, a_turn(), journal=Unwritten(), timeout_s=30)

    assert [seen.tools for seen in model.seen] == [("small_add", "small_fail"), ()]
    assert model.seen[0].parameters["small_add"]["required"] == ["a", "b"]


async def test_a_server_killed_in_the_midst_of_a_turn_costs_that_call_and_the_next_one_works(tmp_path: Path) -> None:
    state, journal = tmp_path / "state", FakeJournal()
    model = ScriptedModel(
        Call("small_who_am_i", {}),
        Call("small_wait", {"file": str(state)}),
        Call("small_add", {"a": 1, "b": 2}),
        "done",
    )
    async with kept(small()) as client:
        await until_open(client)
        async with (
            a_desk(an_agent(mcp_servers=["small"]), model=model, sources=[McpTools(client)]) as desk,
            asyncio.TaskGroup() as group,
        ):
            turn = group.create_task(desk.answer("helper", a_turn(), journal=journal, timeout_s=60))
            await until(lambda: says(state, "begun"))
            told = journal.of("tool_call_complete")[0].data["result"]
            assert isinstance(told, dict)
            os.kill(told["pid"], signal.SIGKILL)

    assert turn.result().text == "done"
    ends = [(event.data["tool"], event.data["is_error"]) for event in journal.of("tool_call_complete")]
    assert ends == [("small_who_am_i", False), ("small_wait", True), ("small_add", False)]
    assert "nobody knows whether it was done" in model.seen[-1].results[1]
    assert model.seen[-1].results[2] == "3"


async def test_thirty_turns_at_once_share_one_server() -> None:
    async with kept(small()) as client:
        await until_open(client)
        model = FunctionModel(stream_function=_adding)
        async with (
            a_desk(an_agent(mcp_servers=["small"]), model=model, sources=[McpTools(client)]) as desk,
            asyncio.TaskGroup() as group,
        ):
            turns = [
                group.create_task(desk.answer("helper", a_turn(str(n)), journal=FakeJournal(), timeout_s=60))
                for n in range(30)
            ]
        assert len(client._connections) == 1

    assert [turn.result().text for turn in turns] == [f"it is {2 * n}" for n in range(30)]


async def _adding(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str | DeltaToolCalls]:
    del info
    parts = [part for message in messages for part in message.parts]
    given = [part.content for part in parts if isinstance(part, ToolReturnPart)]
    if given:
        yield f"it is {given[0]}"
        return
    (asked,) = [part.content for part in parts if isinstance(part, UserPromptPart)]
    yield {0: DeltaToolCall("small_add", f'{{"a": {asked}, "b": {asked}}}')}


@pytest.mark.soak
async def test_thirty_turns_end_well_while_their_server_is_killed_again_and_again() -> None:
    async with kept(small()) as client:
        await until_open(client)
        tools = await tools_of(client)
        model = FunctionModel(stream_function=_adding_ten_times)
        kills = 0
        async with (
            a_desk(an_agent(mcp_servers=["small"]), model=model, sources=[McpTools(client)]) as desk,
            asyncio.TaskGroup() as group,
        ):
            turns = [
                group.create_task(desk.answer("helper", a_turn(str(n)), journal=FakeJournal(), timeout_s=100))
                for n in range(30)
            ]
            while not all(turn.done() for turn in turns) and kills < 8:
                await asyncio.sleep(0.05)  # a refusal comes at once, and others want to go on
                with suppress(ToolRefused):
                    who = await call(tools["small_who_am_i"])
                    assert isinstance(who, dict)
                    os.kill(who["pid"], signal.SIGKILL)
                    kills += 1
        await until(lambda: client._connections["small", None].state is State.OPEN)
        last = await call(tools["small_add"], a=1, b=2)

    assert kills > 1
    assert [turn.result().text for turn in turns] == ["done"] * 30
    assert last == 3


async def _adding_ten_times(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str | DeltaToolCalls]:
    del info
    if sum(isinstance(part, ToolReturnPart) for message in messages for part in message.parts) >= 10:
        yield "done"
        return
    yield {0: DeltaToolCall("small_count", '{"to": 5}')}


async def test_a_call_in_the_midst_of_which_the_program_dies_is_not_made_again() -> None:
    first = FakeJournal()
    first.dies_when = lambda: "tool_output_chunk" in first.types
    script = Call("small_count", {"to": 3}), "done"
    async with kept(small()) as client:
        await until_open(client)
        agent, sources = an_agent(mcp_servers=["small"]), [McpTools(client)]
        with pytest.raises(Died):
            async with a_desk(agent, model=ScriptedModel(*script), sources=sources) as desk:
                await desk.answer("helper", a_turn(), journal=first, timeout_s=60)
        model = ScriptedModel("done")
        async with a_desk(agent, model=model, sources=sources) as desk:
            said = await desk.answer("helper", a_turn(), journal=first.resumed(), timeout_s=60)

    assert said.text == "done"
    assert "It is not known whether this was done" in model.seen[0].results[0]


async def test_tools_of_servers_that_come_to_one_name_are_told_apart() -> None:
    async with kept(old("a", prefix="x_"), old("b", prefix="x_")) as client:
        await until_open(client)
        asked = Asked(an_agent(mcp_servers=["a", "b"]), a_turn(), FakeFrontDoor())
        first, second = await McpTools(client).tools(asked)

        assert first.name == "x_greet"
        assert second.name.startswith("x_greet_")
        assert (first.origin, second.origin) == ("mcp:a", "mcp:b")
        assert await call(second) == "hello"


async def until_open(client: McpServers) -> None:
    """Wait for the programs to be there, so that no turn waits for them with a deadline of its own."""
    await until(lambda: len(client._connections) > 0 and all(one.tools for one in client._connections.values()))
