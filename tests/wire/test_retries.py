"""A request is tried again at most once, only where that can do no harm; what was tried is what the log says."""

import pytest

from tests.wire.caller import get, post, post_chunks
from tests.wire.front import Front
from tests.wire.hostile import HI, HostileUpstream, Visit, silent


def heads(upstream: HostileUpstream) -> list[bytes]:
    """List what the upstream received, a request line each."""
    received = b"\n".join(visit.received for visit in upstream.visits)
    return [line.rstrip() for line in received.split(b"\n") if line.rstrip().endswith(b" HTTP/1.1")]


async def hang_up(visit: Visit) -> None:
    """Take a request and close without a byte of answer."""
    await visit.request()


async def stale(visit: Visit) -> None:
    """Answer one request a connection, and hang up on the next."""
    await visit.request()
    await visit.send(HI)
    await visit.request()


REPEATABLE = [
    get(b"/main/x"),
    get(b"/main/x", method=b"HEAD"),
    get(b"/main/x", method=b"DELETE"),
    get(b"/main/x", method=b"OPTIONS"),
    post(b"/main/x", b"", method=b"PUT"),
]


@pytest.mark.parametrize("request_bytes", REPEATABLE, ids=lambda one: one.split()[0].decode())
async def test_a_harmless_request_on_a_stale_connection_is_sent_once_more(front: Front, request_bytes: bytes) -> None:
    async with front.upstream(stale) as upstream:
        await front.ask(get(b"/main/before"))
        await front.forget()
        answered = await front.ask(request_bytes)

        assert (answered.status, answered.is_whole) == (200, True)
        assert len(heads(upstream)) == 3
        line = await front.line()
        assert (line["reason"], line["retries"]) == ("proxied", 1)


SENT_ONCE = [
    get(b"/main/x", method=b"POST"),
    post(b"/main/x", b""),
    post(b"/main/x", b"hello"),
    post(b"/main/x", b"hello", method=b"PATCH"),
]


@pytest.mark.parametrize("request_bytes", SENT_ONCE)
async def test_a_request_that_may_have_done_something_is_not(front: Front, request_bytes: bytes) -> None:
    async with front.upstream(stale) as upstream:
        await front.ask(get(b"/main/before"))
        await front.forget()
        answered = await front.ask(request_bytes)

        assert (answered.status, answered.problem["type"]) == (502, "upstream-broken")
        assert len(heads(upstream)) == 2
        assert "retries" not in await front.line()


@pytest.mark.parametrize(
    "request_bytes", [post(b"/main/x", b"hello", method=b"PUT"), post_chunks(b"/main/x", b"hello", b"", method=b"PUT")]
)
async def test_a_body_that_was_begun_is_never_sent_again(front: Front, request_bytes: bytes) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        visit.received += await visit.reader.readexactly(5)

    async with front.upstream(script) as upstream:
        answered = await front.ask(request_bytes)

        assert answered.status == 502
        assert len(upstream.visits) == 1


async def test_an_upstream_that_hangs_up_twice_is_a_502(front: Front) -> None:
    async with front.upstream(hang_up) as upstream:
        answered = await front.ask(get(b"/main/x"))

        assert answered.status == 502
        assert len(heads(upstream)) == 2
        line = await front.line()
        assert (line["reason"], line["retries"]) == ("upstream_broken", 1)


async def test_an_upstream_without_retries_is_asked_once(front: Front) -> None:
    async with front.upstream(hang_up) as upstream:
        answered = await front.ask(get(b"/unretried/x"))

        assert answered.status == 502
        assert len(heads(upstream)) == 1


async def test_a_byte_of_an_answer_is_an_answer(front: Front) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(b"H")

    async with front.upstream(script) as upstream:
        answered = await front.ask(get(b"/main/x"))

        assert answered.status == 502
        assert len(upstream.visits) == 1


async def test_a_time_out_is_not_tried_again(front: Front) -> None:
    async with front.upstream(silent) as upstream:
        answered = await front.ask(get(b"/impatient/x"))

        assert answered.status == 504
        assert len(upstream.visits) == 1


async def test_an_outage_is_not_multiplied(front: Front) -> None:
    async with front.upstream(hang_up) as upstream:
        for _ in range(30):
            answered = await front.ask(get(b"/main/x"))
            assert answered.status == 502

        retries = sum(line.get("retries", 0) for line in front.answered)
        assert len(heads(upstream)) == 30 + retries
        assert 10 <= retries <= 14


async def test_a_connection_closed_while_idle_is_not_used(front: Front) -> None:
    async def once(visit: Visit) -> None:
        await visit.request()
        await visit.send(HI)

    async with front.upstream(once) as upstream:
        answers = [await front.ask(post(b"/main/x", b"hello")) for _ in range(5)]

        assert [answered.status for answered in answers] == [200] * 5
        assert len(upstream.visits) == 5


async def test_a_retry_carries_the_same_request(front: Front) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        if visit.number == 1:
            await visit.send(HI)
            await visit.until_left()

    async with front.upstream(script) as upstream:
        await front.ask(get(b"/main/x", b"X-Mine: 1"))

        first, second = (
            [line for line in visit.received.split(b"\r\n") if not line.startswith(b"traceparent")]
            for visit in upstream.visits
        )
        assert first == second
