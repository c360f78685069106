"""A thousand inputs of a model through a REST tool and the real way out, beside an address it must never reach."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import aclosing, contextmanager, suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.agents.contract import Tool, ToolContext, ToolRefused
from app.agents.tools.arguments import checked, overridden
from app.agents.tools.front_door import FrontDoorAddress, HttpFrontDoor
from app.infra.http_client.client import HttpClient
from tests.receivers import Receiver
from tests.unit.agents.desk import a_turn
from tests.unit.agents.tools.test_rest import INPUTS, NAMES, PRECISION, NoTokens, adding

INPUTS_TRIED = 1000
ALLOWED, FORBIDDEN = "127.0.0.1", "127.0.0.2"

pytestmark = pytest.mark.soak


@contextmanager
def a_canary(port: int) -> Iterator[list[object]]:
    """Listen where nobody may go, and note who comes."""
    came: list[object] = []
    with socket.create_server((FORBIDDEN, port)) as listening:
        listening.settimeout(0.1)
        is_over = threading.Event()

        def listen() -> None:
            while not is_over.is_set():
                with suppress(TimeoutError):
                    stream, peer = listening.accept()
                    came.append(peer)
                    stream.close()

        thread = threading.Thread(target=listen)
        thread.start()
        yield came
        is_over.set()
        thread.join(5)


async def is_sent(tool: Tool, said: dict[str, Any]) -> bool:
    async with aclosing(HttpClient.open()) as http:
        context = ToolContext(a_turn(), HttpFrontDoor(http, FrontDoorAddress("http://127.0.0.1:9"), NoTokens()))
        try:
            await tool.call(context, checked(tool, said, context.turn))
        except (ValueError, ToolRefused):
            return False
        return True


def test_no_input_reaches_another_address_or_changes_what_its_author_set() -> None:
    receiver = Receiver()
    sent: list[dict[str, Any]] = []
    refused: list[dict[str, Any]] = []
    with receiver.listening(), a_canary(receiver.port) as came:
        with socket.create_connection((FORBIDDEN, receiver.port), timeout=5):
            pass  # so that it is known to hear who comes
        bait = [f"http://{FORBIDDEN}:{receiver.port}/", f"//{FORBIDDEN}:{receiver.port}", f"@{FORBIDDEN}", FORBIDDEN]
        baited = st.builds(
            lambda right, wrong: {**right, **wrong}, INPUTS, st.dictionaries(NAMES, st.sampled_from(bait), max_size=2)
        )
        tool = overridden(
            adding(base_url=f"http://{ALLOWED}:{receiver.port}", networks=[f"{ALLOWED}/32"]), {"note": "the agent's"}
        )

        @settings(max_examples=INPUTS_TRIED, suppress_health_check=list(HealthCheck), database=None)
        @given(INPUTS | baited)
        def say(said: dict[str, Any]) -> None:
            (sent if runner.run(is_sent(tool, said)) else refused).append(said)

        with asyncio.Runner() as runner:
            say()

    print(f"{len(sent)} of {len(sent) + len(refused)} inputs were sent, {len(came) - 1} elsewhere")  # noqa: T201 - a figure
    assert len(sent) + len(refused) >= INPUTS_TRIED
    assert min(len(sent), len(refused)) > INPUTS_TRIED // 20
    assert len(came) == 1
    assert len(receiver.got) == len(sent)
    for got in receiver.got:
        assert got.headers["host"] == f"{ALLOWED}:{receiver.port}"
        assert got.headers["authorization"] == "the author's"
        path, _, query = got.path.partition("?")
        assert path.startswith("/sheets/")
        assert path.endswith("/sums")
        assert path.count("/") == 3
        assert query.split("account=")[-1] == "7"
        assert (got.json["precision"], got.json["note"]) == (PRECISION, "the agent's")
