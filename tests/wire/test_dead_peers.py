"""A peer that is gone without a word, as a host that lost its power, is found out by TCP."""

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app.edge.tcp import DEAD_PEER_S

PROGRAM = Path(__file__).with_name("dead_peers.py")
OWN_NETWORK = ("unshare", "--map-root-user", "--net")
LATE_S = 10
"""the kernel looks at its timers ever more seldom"""


def has_networks() -> bool:
    tools = [shutil.which(name) for name in ("unshare", "ip")]
    return (
        None not in tools and subprocess.run([*OWN_NETWORK, "true"], check=False, capture_output=True).returncode == 0
    )


@pytest.mark.soak
@pytest.mark.timeout(150)
@pytest.mark.skipif(not has_networks(), reason="a network namespace of one's own is needed (unshare, ip)")
async def test_websockets_of_peers_that_are_gone_without_a_word_are_given_up() -> None:
    here = await asyncio.create_subprocess_exec(
        *OWN_NETWORK, sys.executable, "-m", "tests.wire.dead_peers", cwd=PROGRAM.parents[2], stdout=subprocess.PIPE
    )
    async with asyncio.timeout(140):
        said, _ = await here.communicate()

    assert here.returncode == 0
    seconds = float(said.split()[-1])
    print(f"given up after {seconds:.1f} s")  # noqa: T201 - a soak tells its counts
    assert 1 < seconds < DEAD_PEER_S + LATE_S
