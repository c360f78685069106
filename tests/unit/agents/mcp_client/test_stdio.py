"""A server that is a program: what it may see, what it may say, and that it ends when we do."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from app.agents.contract import ToolRefused
from app.agents.mcp_client import connection, pace
from app.agents.mcp_client.server import Secrets
from app.agents.mcp_client.stdio import STDERR_LINE_CHARS, STDERR_LINES, ServerLog
from app.infra.observability.health import NotWell
from tests.unit.agents.mcp_client.rig import call, kept, offers, old, refused, says, small, tools_of, until

ROOT = Path(__file__).parents[4]


async def test_what_a_tool_answers_comes_as_values_words_and_notes() -> None:
    async with kept(small()) as client:
        tools = await tools_of(client)
        shown: list[str] = []

        assert await call(tools["small_add"], a=1, b=2) == 3
        assert await call(tools["small_count"], to=3, shown=shown) == "counted to 3"
        assert shown == ["step 1 (1 of 3)\n", "step 2 (2 of 3)\n", "step 3 (3 of 3)\n"]
        assert await call(tools["small_picture"]) == "a dot\n\n[image image/png, 3 bytes, not shown]"
        assert "Error executing tool fail" in await refused(tools["small_fail"], words="no")
        assert await call(tools["small_odd_name_with_signs_be7f29"]) == "odd"
        assert await client.health("small") == "stdio, 11 tools"


async def test_a_program_sees_of_our_environment_what_its_entry_gives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED_KEY", "planted-key-1")
    server = small(env={"GIVEN": "x ${NAMED}"}, environment={"NAMED": "named-secret", "OTHER": "other-secret"})

    with capture_logs() as lines:
        async with kept(server) as client:
            tools = await tools_of(client)
            seen = await call(tools["small_environment"])
            await call(tools["small_shout"], words="the key is named-secret")
            await until(lambda: any(line["event"] == "mcp.server_said" for line in lines))

    assert isinstance(seen, dict)
    assert seen["GIVEN"] == sha256(b"x named-secret").hexdigest()
    assert set(seen) - {"LC_CTYPE", "__CF_USER_TEXT_ENCODING"} == {"GIVEN", "PATH", "HOME"}
    said = [line["line"] for line in lines if line["event"] == "mcp.server_said"]
    assert said == ["the key is [redacted]"]
    assert "named-secret" not in repr(lines) + repr(server)


async def test_a_call_that_is_cancelled_is_cancelled_there_and_the_connection_goes_on(tmp_path: Path) -> None:
    async with kept(small()) as client:
        tools = await tools_of(client)
        before = await call(tools["small_who_am_i"])
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(call(tools["small_wait"], file=str(tmp_path / "state")))
            await until(lambda: says(tmp_path / "state", "begun"))
            waiting.cancel()

        await until(lambda: says(tmp_path / "state", "cancelled"))
        assert await call(tools["small_who_am_i"]) == before


async def test_tools_a_server_learns_are_there_in_the_next_turn() -> None:
    async with kept(small()) as client:
        tools = await tools_of(client)
        await call(tools["small_learn"], name="knitting")

        await until(lambda: offers(client, "small_knitting"))


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_a_program_and_its_own_children_end_with_a_worker_that_is_killed(tmp_path: Path) -> None:
    server = tmp_path / "server.py"
    server.write_text(
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(tmp_path / 'pids')!r}, 'w').write(f'{{os.getpid()}} {{child.pid}} .')\n"
        "time.sleep(600)\n"  # says nothing, and does not look at its stdin
    )
    program = (
        "import asyncio, sys\n"
        "from tests.unit.agents.mcp_client.rig import kept, small\n"
        "async def main():\n"
        f"    async with kept(small(command=sys.executable, args=({str(server)!r},), connect_timeout_s=300)):\n"
        "        await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    worker = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        pids = [int(word) for word in _read_when(tmp_path / "pids", " .").split()[:2]]
    finally:
        worker.kill()
        worker.wait()

    _until(lambda: not any(_lives(pid) for pid in pids))


async def test_a_program_that_is_not_there_is_said_so_and_costs_its_tools_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "PATIENCE_S", -1)
    async with kept(small("gone", command="no-such-program", args=()), old()) as client:
        tools = await tools_of(client)

        assert {name.partition("_")[0] for name in tools} == {"old"}
        with pytest.raises(NotWell, match="stdio: there is no program no-such-program"):
            await client.health("gone")


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
async def test_a_program_that_does_not_answer_in_time_is_ended_before_it_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "LONGEST_PAUSE_S", 0.01)
    pids = tmp_path / "pids"
    silent = f"import os, sys; open({str(pids)!r}, 'a').write(f'{{os.getpid()}} '); sys.stdin.read()"
    async with kept(small(command=sys.executable, args=("-c", silent), connect_timeout_s=0.4)) as client:
        await until(lambda: pids.exists() and len(pids.read_text().split()) >= 3)
        *before, last = (int(word) for word in pids.read_text().split())
        assert not any(_lives(pid) for pid in before)
        with pytest.raises(NotWell, match="stdio: it did not answer in time"):
            await client.health("small")
    assert not _lives(last)


async def test_a_line_beyond_its_limit_ends_the_connection_and_is_no_memory() -> None:
    endless = "import sys\nfor line in sys.stdin: sys.stdout.write('x' * 9_000_000); sys.stdout.flush()"
    with capture_logs() as lines:
        async with kept(small(command=sys.executable, args=("-c", endless), connect_timeout_s=20)):
            await until(lambda: any(line["event"] == "mcp.disconnected" for line in lines))

    assert any(line["event"] == "mcp.line_too_long" for line in lines)


async def test_a_server_of_the_older_protocol_is_spoken_to_in_it() -> None:
    with capture_logs() as lines:
        async with kept(old()) as client:
            tools = await tools_of(client)
            answer = await call(tools["old_greet"])
            await until(lambda: offers(client, "old_part"))

    assert answer == "hello"
    assert [line["version"] for line in lines if line["event"] == "mcp.connected"] == ["2025-06-18"]


def test_stderr_is_logged_in_bounded_lines_of_bounded_number() -> None:
    now_s = 0.0
    said = ServerLog("small", Secrets.of(["secret-of-ours"]), now_s=lambda: now_s)

    with capture_logs() as lines:
        for _ in range(STDERR_LINES + 7):
            said.hear(b"Authorization: Bearer abcdefghijklmno secret-of-ours \xff" + b"y" * 9000)
        now_s = 61.0
        said.hear(b"later")

    texts = [line["line"] for line in lines if line["event"] == "mcp.server_said"]
    assert len(texts) == STDERR_LINES + 1
    assert max(len(text) for text in texts) == STDERR_LINE_CHARS
    assert texts[0].startswith("Authorization: Bearer [redacted] [redacted] \ufffdyyy")
    assert [line["lines"] for line in lines if line["event"] == "mcp.server_said_more"] == [7]


async def test_the_refusal_of_a_call_without_a_connection_says_why() -> None:
    async with kept(old()) as client:
        tools = await tools_of(client)
    with pytest.raises(ToolRefused, match="The MCP server old is not there: it is not connected yet"):
        await call(tools["old_greet"])


def _read_when(file: Path, end: str) -> str:
    _until(lambda: file.exists() and file.read_text().endswith(end))
    return file.read_text()


def _until(is_so: Callable[[], bool]) -> None:
    for _ in range(2000):
        if is_so():
            return
        time.sleep(0.02)
    raise AssertionError("it did not come to it")


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
