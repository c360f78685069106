"""Streams of events: each arrives when it was sent, and a stream may be silent for long."""

import asyncio

import pytest

from tests.wire.caller import get
from tests.wire.front import EVENT_IDLE_S, IDLE_S, Front, both_mounts
from tests.wire.hostile import OK, Visit

pytestmark = both_mounts

STREAM = b"Content-Type: text/event-stream; charset=utf-8\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


def event(number: int) -> bytes:
    return b"id: %d\ndata: word %d\n\n" % (number, number)


@pytest.mark.parametrize("framing", [CHUNKED, b"\r\n"], ids=["chunked", "close"])
async def test_every_event_arrives_before_the_next_is_sent(front: Front, framing: bytes) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(OK + STREAM + framing)
        for number in range(5):
            await visit.send(
                b"%x\r\n%b\r\n" % (len(event(number)), event(number)) if framing == CHUNKED else event(number)
            )
            await asyncio.wait_for(is_seen[number].wait(), 5)
        await visit.send(b"0\r\n\r\n" if framing == CHUNKED else b"")

    is_seen = [asyncio.Event() for _ in range(5)]
    async with front.upstream(script), front.calling() as caller:
        await caller.send(get(b"/main/x", b"Accept: text/event-stream"))
        answered = await caller.head()
        for number in range(5):
            assert await asyncio.wait_for(caller.chunk(), 5) == event(number)
            assert front.edge.gauges.streams_open == 1
            assert front.edge.load.requests_open == 0
            is_seen[number].set()

        assert answered.first(b"content-type") == b"text/event-stream; charset=utf-8"
        assert await caller.chunk() == b""
        assert (await front.line())["reason"] == "proxied"
        assert front.edge.gauges.streams_open == 0


@pytest.mark.parametrize("media_type", [b"text/event-stream", b"Text/Event-Stream ; charset=utf-8"])
async def test_a_stream_of_events_may_be_silent_longer_than_another_answer(front: Front, media_type: bytes) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(OK + b"Content-Type: " + media_type + b"\r\n" + CHUNKED)
        await asyncio.sleep(2 * IDLE_S)
        await visit.send(b"2\r\nhi\r\n0\r\n\r\n")
        await visit.until_left()

    async with front.upstream(script):
        answered = await front.ask(get(b"/impatient/x"))

        assert (answered.body, answered.is_whole) == (b"hi", True)


async def test_a_stream_of_events_that_stays_silent_ends(front: Front) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(OK + STREAM + CHUNKED + b"2\r\nhi\r\n")
        await visit.until_left()

    async with front.upstream(script):
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        answered = await front.ask(get(b"/impatient/x"))

        assert (answered.body, answered.is_whole) == (b"hi", False)
        assert loop.time() - begun_s > EVENT_IDLE_S / 2
        assert (await front.line())["reason"] == "upstream_timeout"
