"""A program of its own, in a network of its own: everybody is connected, then the network is gone without a word.

Prints how many seconds later the gateway had given up the last of its WebSockets, a tunnel and a local one.
"""

import asyncio
import subprocess
import time

from app.edge.asgi_client import Receive, Scope, Send
from tests.wire.doorway import SWITCHING, handshake, running_doorway
from tests.wire.front import Front
from tests.wire.hostile import Visit

PATIENCE_S = 90


def network(state: str) -> None:
    subprocess.run(["ip", "link", "set", "lo", state], check=True)


async def listening(scope: Scope, receive: Receive, send: Send) -> None:
    del scope
    await receive()
    await send({"type": "websocket.accept"})
    while (await receive())["type"] == "websocket.receive":
        pass


async def switching(visit: Visit) -> None:
    await visit.request()
    await visit.send(SWITCHING)
    await visit.until_left()


async def seconds_until_given_up(front: Front) -> float:
    async with front.upstream(switching), front.calling() as one, front.calling() as other:
        for caller, path in ((one, b"/ws"), (other, b"/local")):
            await caller.send(handshake(path))
            assert (await caller.head()).status == 101
        assert front.edge.gauges.tunnels_open == 2
        network("down")
        began = time.monotonic()
        async with asyncio.timeout(PATIENCE_S):
            while front.edge.gauges.connections_open or front.counts().open:  # noqa: ASYNC110 - the gateway's
                await asyncio.sleep(0.1)
        assert front.edge.gauges.tunnels_open == 0
        network("up")
        return time.monotonic() - began


if __name__ == "__main__":
    network("up")
    with running_doorway(listening) as running:
        print(asyncio.run(seconds_until_given_up(running)))  # noqa: T201 - read by the test
