"""An agent with `code_execution=True`: what its model is shown, and what its calls come to."""

import asyncio
import os
from datetime import timedelta
from pathlib import Path

import pytest

from app.agents.contract import Asked, Risk, Tool, ToolContext, ToolRefused, ToolSource
from app.agents.llm.scripted import Call, ScriptedModel
from app.agents.sandbox.folders import WorkFolders
from app.agents.sandbox.ports import CODE_TOOLS, Backend
from app.agents.sandbox.sandbox import Sandbox, SandboxRefused
from app.agents.sandbox.tools import CodeExecution
from tests.fakes.front_door import FakeFrontDoor
from tests.fakes.journal import FakeJournal
from tests.unit.agents.desk import a_desk, a_turn, an_agent
from tests.unit.agents.sandbox.rig import OF_THE_KERNEL, SMALL, descendants, still_there, usable


def a_source(tmp_path: Path, *backends: Backend) -> CodeExecution:
    folders = WorkFolders(tmp_path / "sandbox", SMALL, most=5, keep=timedelta(days=1))
    return CodeExecution(Sandbox(backends, SMALL, asyncio.Semaphore(2)), folders)


async def tools_of(source: ToolSource) -> dict[str, Tool]:
    asked = Asked(an_agent(code_execution=True), a_turn(), FakeFrontDoor())
    return {tool.name: tool for tool in await source.tools(asked)}


async def call(tool: Tool, key: str = "", **arguments: object) -> object:
    context = ToolContext(a_turn(), FakeFrontDoor(), key)
    return await tool.call(context, tool.check(arguments))  # type: ignore[arg-type] # as a model says them


@pytest.fixture(params=[*OF_THE_KERNEL, "monty"])
async def source(request: pytest.FixtureRequest, tmp_path: Path) -> CodeExecution:
    return a_source(tmp_path, await usable(request.param))


async def test_only_an_agent_that_asks_for_it_has_the_tools_and_none_needs_approval(tmp_path: Path) -> None:
    source = a_source(tmp_path)
    plain = await source.tools(Asked(an_agent(), a_turn(), FakeFrontDoor()))
    tools = await tools_of(source)

    assert list(plain) == []
    assert tuple(tools) == CODE_TOOLS
    assert {tool.traits.risk for tool in tools.values()} == {Risk.READS, Risk.WRITES_INSIDE}


async def test_the_description_names_the_active_backend_and_its_limits(source: CodeExecution) -> None:
    backend = await source.sandbox.choose()

    description = (await tools_of(source))["run_code"].description

    assert backend.words in description
    assert "10 s, 128 MB of memory, 8 processes, 2 MB in 20 files, 2 KB of output" in description


async def test_files_stay_from_program_to_program(source: CodeExecution) -> None:
    tools = await tools_of(source)

    await call(tools["write_file"], path="in.txt", text="21")
    ran = await call(tools["run_code"], code="n = int(open('in.txt').read())\nopen('out.txt', 'w').write(str(2 * n))")

    assert isinstance(ran, dict)
    assert (ran["exit_code"], ran["files_written"]) == (0, ["out.txt"])
    assert await call(tools["read_file"], path="out.txt") == "42"
    assert await call(tools["list_files"]) == {"files": ["in.txt (2 bytes)", "out.txt (2 bytes)"]}


async def test_a_call_that_is_made_again_after_a_crash_is_not_run_again(source: CodeExecution) -> None:
    run_code = (await tools_of(source))["run_code"]
    code = "with open('log', 'a') as log:\n    log.write('x')\nprint(len(open('log').read()))"

    outputs = [await call(run_code, key, code=code) for key in ("one", "one", "two")]

    assert [one["output"] for one in outputs if isinstance(one, dict)] == ["1\n", "1\n", "2\n"]


async def test_where_nothing_isolates_a_call_is_refused_and_the_description_says_so(tmp_path: Path) -> None:
    source = a_source(tmp_path)
    with pytest.raises(SandboxRefused):
        await source.sandbox.choose()
    run_code = (await tools_of(source))["run_code"]

    with pytest.raises(ToolRefused, match="Code is not executed here: no backend isolates here"):
        await call(run_code, code="print(1)")

    assert "is refused" in run_code.description


@pytest.mark.parametrize(
    ("tool", "arguments", "words"),
    [
        ("run_code", {}, "give the program"),
        ("run_code", {"code": " "}, "give the program"),
        ("run_code", {"code": "x" * 100_001}, "100000 characters"),
        ("read_file", {"path": "../now/last.json"}, "relative"),
        ("write_file", {"path": "/etc/passwd", "text": ""}, "relative"),
        ("write_file", {"path": "a"}, "give the content"),
    ],
)
async def test_arguments_that_do_not_fit_are_told(
    tmp_path: Path, tool: str, arguments: dict[str, str], words: str
) -> None:
    tools = await tools_of(a_source(tmp_path))

    with pytest.raises(ValueError, match=words):
        await call(tools[tool], **arguments)


async def test_a_file_that_is_not_there_and_one_that_is_no_text_are_told(tmp_path: Path) -> None:
    source = a_source(tmp_path)
    tools = await tools_of(source)
    async with source.folders.held(a_turn()) as folder:
        (folder.files / "image").write_bytes(b"\xff\xd8")

    with pytest.raises(ToolRefused, match="no file nothing"):
        await call(tools["read_file"], path="nothing")
    with pytest.raises(ToolRefused, match="is no text"):
        await call(tools["read_file"], path="image")


async def test_a_turn_runs_code_streams_its_output_and_shows_the_model_the_result(source: CodeExecution) -> None:
    journal = FakeJournal()
    model = ScriptedModel(Call("run_code", {"code": "print(6 * 7)"}), "It is 42.")

    async with a_desk(an_agent(code_execution=True), model=model, sources=[source]) as desk:
        said = await desk.answer("helper", a_turn("How much is it?"), journal=journal, timeout_s=30)

    assert said.text == "It is 42."
    assert [one.data["text"] for one in journal.of("tool_output_chunk")] == ["42\n"]
    assert '"output":"42\\n"' in model.seen[-1].results[-1]


async def test_a_cancelled_turn_ends_its_program(source: CodeExecution) -> None:
    journal, before = FakeJournal(), descendants(os.getpid())
    model = ScriptedModel(Call("run_code", {"code": "print('on')\nwhile True: pass"}))
    async with (
        a_desk(an_agent(code_execution=True), model=model, sources=[source]) as desk,
        asyncio.TaskGroup() as group,
    ):
        turn = group.create_task(desk.answer("helper", a_turn(), journal=journal, timeout_s=60))
        await journal.until(lambda: bool(journal.of("tool_output_chunk")))
        begun = descendants(os.getpid()) - before

        turn.cancel()
        await asyncio.wait([turn])

        for _ in range(500):
            if not still_there(begun):
                break
            await asyncio.sleep(0.01)
        assert begun
        assert not still_there(begun)
