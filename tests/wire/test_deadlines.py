"""Every phase of a proxied request ends in time, whoever is slow, and says whose time ran out."""

import asyncio

import pytest

from tests.wire.caller import get, post_chunks
from tests.wire.front import IDLE_S, Front
from tests.wire.hostile import HI, OK, Visit, answering, deaf, eventually, silent

CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"


async def test_nobody_listening_is_a_502(front: Front) -> None:
    answered = await front.ask(get(b"/main/x"))

    assert (answered.status, answered.problem["type"]) == (502, "upstream-refused")
    line = await front.line()
    assert (line["reason"], line["phase"], line["upstream"]) == ("upstream_refused", "connect", "main")
    assert "retries" not in line


async def test_a_connection_that_is_not_accepted_in_time_is_a_504(front: Front) -> None:
    with front.unconnectable():
        answered = await front.ask(get(b"/impatient/x"))

        assert (answered.status, answered.problem["type"]) == (504, "upstream-timeout")
        line = await front.line()
        assert (line["reason"], line["phase"]) == ("upstream_timeout", "connect")


@pytest.mark.parametrize("path", [b"/impatient/x", b"/quick/x"], ids=["of the upstream", "of the route"])
async def test_an_answer_that_does_not_begin_in_time_is_a_504(front: Front, path: bytes) -> None:
    async with front.upstream(silent) as upstream:
        answered = await front.ask(get(path))

        assert (answered.status, answered.problem["type"]) == (504, "upstream-timeout")
        line = await front.line()
        assert (line["reason"], line["phase"]) == ("upstream_timeout", "head")
        assert len(upstream.visits) == 1


@pytest.mark.parametrize("piece", [b"X", b"HTTP/1.1 100 Continue\r\n\r\n"], ids=["a byte at a time", "interims"])
async def test_an_answer_that_is_only_begun_is_a_504_too(front: Front, piece: bytes) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        if piece == b"X":
            await visit.send(OK)
        while True:
            await visit.send(piece)
            await asyncio.sleep(0.08)

    async with front.upstream(script):
        answered = await front.ask(get(b"/impatient/x"))

        assert answered.status == 504


async def test_an_answer_that_falls_silent_is_cut(front: Front) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(CHUNKED + b"2\r\nhi\r\n")
        await visit.until_left()

    async with front.upstream(script):
        answered = await front.ask(get(b"/impatient/x"))

        assert (answered.status, answered.body, answered.is_whole) == (200, b"hi", False)
        line = await front.line()
        assert (line["status"], line["reason"], line["phase"]) == (200, "upstream_timeout", "body")


async def test_an_answer_that_keeps_coming_may_take_longer_than_any_deadline(front: Front) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(CHUNKED)
        for _ in range(10):
            await visit.send(b"1\r\nx\r\n")
            await asyncio.sleep(IDLE_S / 5)
        await visit.send(LAST)
        await visit.until_left()

    async with front.upstream(script):
        answered = await front.ask(get(b"/impatient/x"))

        assert (answered.body, answered.is_whole) == (b"x" * 10, True)


@pytest.mark.parametrize("framing", [b"Content-Length: 9", b"Transfer-Encoding: chunked"], ids=["length", "chunked"])
async def test_a_body_that_stops_coming_is_a_408(front: Front, framing: bytes) -> None:
    async with front.upstream(silent) as upstream, front.calling() as caller:
        with front.patience(body_idle_s=IDLE_S):
            await caller.send(get(b"/main/x", framing, method=b"POST"))
            answered = await caller.answer()

            assert (answered.status, answered.problem["type"]) == (408, "request-too-slow")
            assert answered.all(b"connection") == [b"close"]
            assert await caller.is_cut()
            await front.is_at_rest()
            assert upstream.visits[0].received.endswith(b"\r\n\r\n")
            assert (await front.line())["reason"] == "request_too_slow"


async def test_a_body_that_only_drips_is_a_408(front: Front) -> None:
    async with front.upstream(silent) as upstream, front.calling() as caller:
        with front.patience(body_idle_s=IDLE_S, body_min_bytes_per_s=100):
            await caller.send(post_chunks(b"/main/x", b"x"))
            for _ in range(40):
                if front.answered:
                    break
                await asyncio.sleep(IDLE_S / 6)
                await caller.send(b"1\r\nx\r\n")
            answered = await caller.answer()

            assert answered.status == 408
            assert LAST not in upstream.visits[0].received
            assert (await front.line())["reason"] == "request_too_slow"


async def test_a_slow_upstream_does_not_make_the_client_slow(front: Front) -> None:
    body = b"x" * 8_000_000

    async def script(visit: Visit) -> None:
        await visit.request()
        visit.writer.transport.pause_reading()  # type: ignore[attr-defined]  # the stream's transport can read as well
        await asyncio.sleep(3 * IDLE_S)
        visit.writer.transport.resume_reading()  # type: ignore[attr-defined]  # see above
        await visit.reader.readexactly(len(body))
        await visit.send(HI)
        await visit.until_left()

    async with front.upstream(script):
        with front.patience(body_idle_s=IDLE_S):
            answered = await front.ask(get(b"/main/x", b"Content-Length: 8000000", method=b"POST") + body)

            assert answered.status == 200


async def test_an_upstream_that_stops_reading_is_a_504(front: Front) -> None:
    async with front.upstream(deaf), front.calling() as caller:
        caller.writer.write(get(b"/impatient/x", b"Content-Length: 20000000", method=b"POST") + b"x" * 20_000_000)
        answered = await caller.answer()

        assert answered.status == 504
        line = await front.line()
        assert (line["reason"], line["phase"]) == ("upstream_timeout", "send")


async def test_an_upload_nobody_reads_and_nobody_waits_for_ends_with_the_write_deadline(front: Front) -> None:
    """While it holds a client's bytes back, a server cannot tell us that the client has left."""
    async with front.upstream(deaf), front.calling() as caller:
        caller.writer.write(get(b"/impatient/x", b"Content-Length: 20000000", method=b"POST") + b"x" * 15_000_000)
        await eventually(lambda: front.counts("impatient").in_use == 1)
        caller.reset()

        await front.is_at_rest()
        assert (await front.line())["reason"] in {"client_gone", "upstream_timeout"}
        assert front.counts("impatient").open == 0


async def test_a_client_that_takes_nothing_is_left(front: Front) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(CHUNKED)
        while True:
            await visit.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")

    async with front.upstream(script) as upstream, front.calling() as caller:
        with front.patience(client_write_s=IDLE_S):
            await caller.send(get(b"/main/x"))
            await caller.head()
            caller.writer.transport.pause_reading()  # type: ignore[attr-defined]  # see above

            line = await front.line()
            assert (line["status"], line["reason"]) == (200, "client_too_slow")
            await eventually(upstream.visits[0].writer.transport.is_closing)


async def test_a_full_pool_is_a_503_that_says_when_to_come_again(front: Front) -> None:
    async with front.upstream(silent), front.calling() as first:
        await first.send(get(b"/crowded/first"))
        await eventually(lambda: front.counts("crowded").in_use == 1)
        answered = await front.ask(get(b"/crowded/second"))

        assert (answered.status, answered.problem["type"]) == (503, "upstream-unavailable")
        assert answered.first(b"retry-after") == b"1"
        line = await front.line()
        assert (line["reason"], line["phase"]) == ("upstream_unavailable", "wait")


async def test_whoever_waits_for_a_connection_gets_the_next_one(front: Front) -> None:
    async with front.upstream(answering(HI, HI, HI)) as upstream:
        answers = await asyncio.gather(*(front.ask(get(b"/crowded/x")) for _ in range(3)))

        assert [answered.body for answered in answers] == [b"hi"] * 3
        assert len(upstream.visits) == 1
