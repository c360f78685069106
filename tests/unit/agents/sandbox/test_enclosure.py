import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from app.agents.sandbox.enclosure import Enclosure, enclosed
from app.agents.sandbox.ports import BackendAway, Limits, Program

GONE = Enclosure(("/bin/sh", "-c", "exec <&-; echo 'nobody is here' >&2; exit 1"), {})


async def nobody(piece: str) -> None:
    raise AssertionError(piece)


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_sandbox_that_ends_before_it_was_handed_its_program_says_why(
    tmp_path: Path, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    for number in range(40):
        (tmp_path / f"{number}.txt").write_bytes(b"x" * 100_000)
    program = Program("print(1)", tmp_path, tmp_path / "left", Limits())

    with asyncio.Runner(loop_factory=new_loop) as runner, pytest.raises(BackendAway, match="nobody is here"):
        runner.run(enclosed(program, nobody, GONE))
