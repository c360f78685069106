"""Programs in Monty that try to get out, or to take more than they may."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from app.agents.sandbox.ports import MEGABYTE
from tests.unit.agents.sandbox.rig import Bench, descendants, still_there


@pytest.mark.parametrize(
    "code",
    [
        "open({secret!r}).read()",
        "from pathlib import Path\nPath({secret!r}).read_text()",
        "from pathlib import Path\nlist(Path('/').iterdir())",
        "open('/work/../../etc/passwd').read()",
        "open('../out', 'w').write('x')",
        "import os\nprint(os.environ)",
        "import os\nprint(os.getenv('PORTICO_SECRET').upper())",
        "import socket",
        "import subprocess",
        "import ctypes",
        "import urllib.request",
        "import os\nos.fork()",
        "import os\nos.system('id')",
    ],
)
async def test_nothing_but_its_folder_is_there(
    monty: Bench, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTICO_SECRET", "s3cret")
    secret = tmp_path / "secret"
    secret.write_text("s3cret")

    ran = await monty.run(code.format(secret=str(secret)))

    assert ran.exit_code == 1
    assert "s3cret" not in ran.output.replace(str(secret), "")
    assert monty.left == {}


async def test_a_link_in_its_folder_leads_nowhere_outside(monty: Bench, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret")
    (monty.folder / "link").symlink_to(tmp_path / "secret")

    ran = await monty.run("print(open('link').read())")

    assert "s3cret" not in ran.output


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("while True: pass", "the time limit of 0.3 s"),
        ("import time\ntime.sleep(9)", "the time limit of 0.3 s"),
        ("while True: print('x' * 1000)", "the output limit: it printed more than 8192 bytes"),
        ("n = 0\nwhile True:\n    open(f'{n}', 'w').write('')\n    n += 1", "the limit of 20 files"),
    ],
    ids=["loop", "sleep", "output", "files"],
)
async def test_what_takes_too_much_is_ended(monty: Bench, code: str, words: str) -> None:
    ran = await monty.run(code, wall_s=0.3 if "time" in words else 10)

    assert ran.ended_by == words
    assert ran.exit_code != 0
    assert len(ran.output) <= 2048


async def test_memory_and_bytes_on_disk_have_their_limits(monty: Bench) -> None:
    memory = await monty.run("x = 'a' * (200 * 2**20)")
    disk = await monty.run("open('big', 'w').write('x' * (4 * 2**20))")

    assert "MemoryError" in memory.output
    assert "disk write limit" in disk.output
    assert sum(map(len, monty.left.values())) <= 2 * MEGABYTE


async def test_it_works_in_its_folder_and_shows_what_it_prints(monty: Bench) -> None:
    (monty.folder / "a.json").write_text("[1, 2]")
    code = "import json, time\nprint('on')\ntime.sleep(0.2)\n"
    code += "open('b', 'w').write(str(sum(json.load(open('a.json')))))\n1/0"

    ran = await monty.run(code)

    assert (ran.exit_code, monty.left["b"]) == (1, b"3")
    assert monty.shown[0] == "on\n"
    assert "ZeroDivisionError" in ran.output


async def test_cancelled_its_interpreter_is_gone(monty: Bench) -> None:
    before = descendants(os.getpid())
    async with asyncio.TaskGroup() as group:
        running = group.create_task(monty.run("print('on')\nwhile True: pass", wall_s=60))
        until = time.monotonic() + 10
        while not monty.shown and time.monotonic() < until:  # noqa: ASYNC110 - polled, with a deadline
            await asyncio.sleep(0.01)
        begun = descendants(os.getpid()) - before

        running.cancel()
        await asyncio.wait([running])

        until = time.monotonic() + 10
        while still_there(begun) and time.monotonic() < until:  # noqa: ASYNC110 - polled, with a deadline
            await asyncio.sleep(0.01)
        assert begun
        assert not still_there(begun)
