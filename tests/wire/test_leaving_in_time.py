"""How long an upstream works on for a client that has left, phase by phase: the promise is 100 ms."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from tests.wire.caller import LEAVES, Caller, Leave, get, post_chunks
from tests.wire.front import Front, both_mounts
from tests.wire.hostile import OK, Visit, eventually, silent

CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
LEAVE_S = 2
"""what is promised is 0.1 s; this machine may be busy with something else"""

type Phase = Callable[[Front, Caller], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def dialling(front: Front, caller: Caller) -> AsyncIterator[None]:
    with front.unconnectable():
        await caller.send(get(b"/main/x"))
        await eventually(lambda: front.counts().in_use == 1)
        yield


@asynccontextmanager
async def waiting(front: Front, caller: Caller) -> AsyncIterator[None]:
    async with front.upstream(silent) as upstream:
        await caller.send(get(b"/main/x"))
        await eventually(lambda: bool(upstream.visits) and upstream.visits[0].received != b"")
        yield


@asynccontextmanager
async def sending(front: Front, caller: Caller) -> AsyncIterator[None]:
    async with front.upstream(silent) as upstream:
        await caller.send(post_chunks(b"/main/x", b"x" * 1000))
        await eventually(lambda: bool(upstream.visits) and len(upstream.visits[0].received) > 1000)
        yield


@asynccontextmanager
async def answered_in_part(front: Front, caller: Caller) -> AsyncIterator[None]:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(CHUNKED + b"2\r\nhi\r\n")
        await visit.until_left()

    async with front.upstream(script):
        await caller.send(get(b"/main/x"))
        await caller.head()
        await caller.chunk()
        yield


@asynccontextmanager
async def not_reading(front: Front, caller: Caller) -> AsyncIterator[None]:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(CHUNKED)
        while True:
            await visit.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")

    async with front.upstream(script) as upstream:
        await caller.send(get(b"/main/x"))
        await caller.head()
        caller.writer.transport.pause_reading()  # type: ignore[attr-defined]  # the stream's transport can read as well
        seen = [-1, 0]
        while seen[-1] != seen[-2]:
            await asyncio.sleep(0.1)
            seen.append(upstream.visits[0].sent_bytes)
        yield


PHASES: dict[str, tuple[Phase, int]] = {
    "while dialling": (dialling, 0),
    "while sending": (sending, 0),
    "while waiting": (waiting, 0),
    "in the middle of the answer": (answered_in_part, 200),
    "while it does not read": (not_reading, 200),
}


@both_mounts
@pytest.mark.parametrize("leave", LEAVES.values(), ids=LEAVES)
@pytest.mark.parametrize(("phase", "status"), PHASES.values(), ids=PHASES)
async def test_the_upstream_connection_closes_in_time(front: Front, phase: Phase, status: int, leave: Leave) -> None:
    async with front.calling() as caller, phase(front, caller):
        leave(caller)
        begun_s = time.monotonic()
        async with asyncio.timeout(LEAVE_S):
            while front.counts().open:  # noqa: ASYNC110 - it is seen from outside, and looked at often
                await asyncio.sleep(0.001)

        print(f"closed after {(time.monotonic() - begun_s) * 1000:.1f} ms")  # noqa: T201 - read with -s
        line = await front.line()
        assert (line["status"], line["reason"]) == (status, "client_gone")
        assert front.counts().in_use == 0
