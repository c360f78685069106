"""A client that leaves, in whatever phase, takes its upstream connection, its place and its tasks with it."""

import asyncio

import pytest

from tests.wire.caller import LEAVES, Leave, get, post_chunks
from tests.wire.front import Front, both_mounts
from tests.wire.hostile import OK, Visit, eventually, silent

pytestmark = [
    both_mounts,
    pytest.mark.parametrize("leave", LEAVES.values(), ids=LEAVES),
]

CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


async def test_while_a_connection_is_dialled(front: Front, leave: Leave) -> None:
    with front.unconnectable():
        async with front.calling() as caller:
            await caller.send(get(b"/main/x"))
            await eventually(lambda: front.counts().in_use == 1)
            leave(caller)

            await front.is_at_rest()
            assert (await front.line())["reason"] == "client_gone"
            assert front.counts().open == 0


async def test_while_standing_in_line_for_a_connection(front: Front, leave: Leave) -> None:
    async with front.upstream(silent) as upstream, front.calling() as first, front.calling() as second:
        await first.send(get(b"/crowded/first"))
        await eventually(lambda: front.counts("crowded").in_use == 1)
        await second.send(get(b"/crowded/second"))
        await eventually(lambda: front.counts("crowded").waiting == 1)
        leave(second)

        await eventually(lambda: front.counts("crowded").waiting == 0)
        assert (await front.line())["reason"] == "client_gone"
        assert len(upstream.visits) == 1


async def test_while_waiting_for_the_answer(front: Front, leave: Leave) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        is_asked.set()
        await visit.until_left()
        is_left.set()

    is_asked, is_left = asyncio.Event(), asyncio.Event()
    async with front.upstream(script), front.calling() as caller:
        await caller.send(get(b"/main/x"))
        await asyncio.wait_for(is_asked.wait(), 5)
        leave(caller)

        await asyncio.wait_for(is_left.wait(), 2)
        line = await front.line()
        assert (line["status"], line["reason"]) == (0, "client_gone")
        await front.is_at_rest()
        assert front.counts().open == 0


async def test_in_the_middle_of_the_answer(front: Front, leave: Leave) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(CHUNKED + b"2\r\nhi\r\n")
        await visit.until_left()
        is_left.set()

    is_left = asyncio.Event()
    async with front.upstream(script), front.calling() as caller:
        await caller.send(get(b"/main/x"))
        await caller.head()
        assert await caller.chunk() == b"hi"
        leave(caller)

        await asyncio.wait_for(is_left.wait(), 2)
        line = await front.line()
        assert (line["status"], line["reason"]) == (200, "client_gone")
        await front.is_at_rest()
        assert front.counts().open == 0


async def test_while_it_does_not_read(front: Front, leave: Leave) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(CHUNKED)
        while True:
            await visit.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")

    async with front.upstream(script) as upstream, front.calling() as caller:
        await caller.send(get(b"/main/x"))
        await caller.head()
        caller.writer.transport.pause_reading()  # type: ignore[attr-defined]  # the stream's transport can read as well
        await until_still(upstream.visits[0])
        leave(caller)

        await eventually(upstream.visits[0].writer.transport.is_closing)
        assert (await front.line())["reason"] == "client_gone"
        await front.is_at_rest()
        assert front.counts().open == 0


async def test_during_an_upload_the_upstream_reads(front: Front, leave: Leave) -> None:
    async with front.upstream(silent) as upstream, front.calling() as caller:
        await caller.send(post_chunks(b"/main/x", b"x" * 65536))
        await eventually(lambda: bool(upstream.visits) and len(upstream.visits[0].received) > 65536)
        leave(caller)

        await front.is_at_rest()
        assert (await front.line())["reason"] == "client_gone"
        assert front.counts().open == 0
        assert not upstream.visits[0].received.endswith(b"0\r\n\r\n")


async def test_between_two_requests(front: Front, leave: Leave) -> None:
    async with front.calling() as caller:
        await caller.send(get(b"/nowhere"))
        await caller.answer()
        leave(caller)

        await front.is_at_rest()
        assert (await front.line())["reason"] == "route_not_found"


async def until_still(visit: Visit) -> None:
    """Wait until nobody takes the upstream's bytes any more."""
    sent_bytes = -1
    while sent_bytes != visit.sent_bytes:
        sent_bytes = visit.sent_bytes
        await asyncio.sleep(0.1)
