"""The connection and its exchange, over real sockets, against upstreams that misbehave."""

import asyncio

import pytest

from app.edge.answer_head import Framing
from app.edge.chunked import LAST_CHUNK, chunk
from app.edge.upstream_exchange import Exchange
from app.edge.upstream_failures import Phase, UpstreamBroken
from tests.wire.hostile import (
    GET,
    HI,
    OK,
    POST,
    Visit,
    answering,
    answering_then_closing,
    eventually,
    fail,
    fetch,
    hostile,
    on_both_loops,
    pool_to,
)

CHUNKED_HI = OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
SWITCHING = b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


ANSWERS = {
    "length": (b"GET", HI, b"hi"),
    "chunked": (b"GET", CHUNKED_HI, b"hi"),
    "empty": (b"GET", OK + b"Content-Length: 0\r\n\r\n", b""),
    "head": (b"HEAD", OK + b"Content-Length: 2\r\n\r\n", b""),
    "204": (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    "304": (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", b""),
    "interim": (b"GET", b"HTTP/1.1 100 Continue\r\n\r\n" + HI, b"hi"),
    "trailers": (b"GET", CHUNKED_HI[:-2] + b"X-A: b\r\n\r\n", b"hi"),
}


@pytest.mark.parametrize(("method", "answer", "expected"), ANSWERS.values(), ids=ANSWERS)
@on_both_loops
async def test_a_complete_answer_leaves_its_connection_for_the_next(
    method: bytes, answer: bytes, expected: bytes
) -> None:
    async with hostile(answering(answer, answer)) as upstream:
        pool = pool_to(upstream.port)

        bodies = [(await fetch(pool, method=method))[1] for _ in range(2)]

        assert bodies == [expected, expected]
        assert (len(upstream.visits), pool.counts.idle) == (1, 1)
        await pool.aclose()


@pytest.mark.parametrize("answer", [HI, CHUNKED_HI], ids=["length", "chunked"])
@on_both_loops
async def test_an_answer_that_comes_byte_by_byte_is_the_same_answer(answer: bytes) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.dribble(answer)
        await visit.until_left()

    async with hostile(script) as upstream:
        pool = pool_to(upstream.port)

        head, body = await fetch(pool)

        assert (head.status, head.reason, body, pool.counts.idle) == (200, b"OK", b"hi", 1)
        await pool.aclose()


@on_both_loops
async def test_a_close_delimited_answer_ends_with_its_connection() -> None:
    async with hostile(answering_then_closing(OK + b"\r\nhi")) as upstream:
        pool = pool_to(upstream.port)

        head, body = await fetch(pool)

        assert (head.framing, body, pool.counts.open) == (Framing.CLOSE, b"hi", 0)
        await pool.aclose()


SPENT = {
    "left-over-answer": HI + HI,
    "left-over-line-end": HI + b"\r\n",
    "left-over-after-chunks": CHUNKED_HI + b"x",
    "connection-close": OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nhi",
    "http-1.0": b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
}


@pytest.mark.parametrize("answer", SPENT.values(), ids=SPENT)
@on_both_loops
async def test_a_spent_connection_is_never_reused(answer: bytes) -> None:
    async with hostile(answering(answer)) as upstream:
        pool = pool_to(upstream.port)

        bodies = [(await fetch(pool))[1] for _ in range(2)]

        assert bodies == [b"hi", b"hi"]
        assert (len(upstream.visits), pool.counts.idle) == (2, 0)
        await pool.aclose()


@on_both_loops
async def test_bytes_on_an_idle_connection_close_it() -> None:
    pushed = asyncio.Event()

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(HI)
        await pushed.wait()
        await visit.send(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        await visit.until_left()

    async with hostile(script) as upstream:
        pool = pool_to(upstream.port)
        await fetch(pool)
        pushed.set()
        await eventually(lambda: pool.counts.open == 0)

        head, _ = await fetch(pool)

        assert (head.status, len(upstream.visits)) == (200, 2)
        await pool.aclose()


@on_both_loops
async def test_bytes_waiting_in_the_socket_are_not_taken_for_the_next_answer() -> None:
    """The push is written in the very step that acquires, so that the loop has not seen it yet."""
    async with hostile(answering(HI)) as upstream:
        pool = pool_to(upstream.port)
        await fetch(pool)
        await eventually(lambda: pool.counts.idle == 1)
        upstream.visits[0].writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")

        _, body = await fetch(pool)

        assert (body, len(upstream.visits)) == (b"hi", 2)
        await pool.aclose()


@on_both_loops
async def test_an_answer_to_no_request_closes_the_connection() -> None:
    async def script(visit: Visit) -> None:
        await visit.send(HI)
        await visit.until_left()

    async with hostile(script) as upstream:
        pool = pool_to(upstream.port)
        connection = await pool.acquire()
        await eventually(lambda: pool.counts.open == 0)

        exchange = Exchange(connection)
        exchange.begin(b"GET", GET)
        with pytest.raises(UpstreamBroken) as caught:
            await exchange.head()

        assert not caught.value.sent
        await pool.aclose()


BROKEN = {
    "closed-without-a-word": (b"", Phase.HEAD, False),
    "not-http": (b"SSH-2.0-OpenSSH\r\n", Phase.HEAD, True),
    "both-framings": (OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", Phase.HEAD, True),
    "unasked-upgrade": (SWITCHING, Phase.HEAD, True),
    "interim-flood": (b"HTTP/1.1 102 Processing\r\n\r\n" * 17, Phase.HEAD, True),
    "head-over-the-limit": (OK + b"A: " + b"a" * 40_000, Phase.HEAD, True),
    "short-length": (OK + b"Content-Length: 3\r\n\r\nhi", Phase.BODY, True),
    "short-chunks": (CHUNKED_HI[:-2], Phase.BODY, True),
    "malformed-chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\nzz\r\n", Phase.BODY, True),
}


@pytest.mark.parametrize(("answer", "phase", "answered"), BROKEN.values(), ids=BROKEN)
@on_both_loops
async def test_a_broken_answer_is_a_failure(answer: bytes, phase: Phase, *, answered: bool) -> None:
    async with hostile(answering_then_closing(answer)) as upstream:
        pool = pool_to(upstream.port)

        failure = await fail(pool)

        assert isinstance(failure, UpstreamBroken)
        assert (failure.phase, failure.sent, failure.answered) == (phase, True, answered)
        assert pool.counts.open == 0
        await pool.aclose()


@pytest.mark.parametrize("answer", [HI, CHUNKED_HI, OK + b"\r\nhi"], ids=["length", "chunked", "close"])
@on_both_loops
async def test_a_reset_at_any_byte_is_a_failure(answer: bytes) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(answer[: visit.number])
        visit.reset()

    async with hostile(script) as upstream:
        pool = pool_to(upstream.port)

        failures = [await fail(pool) for _ in range(len(answer))]

        assert {type(failure) for failure in failures} == {UpstreamBroken}
        assert pool.counts.open == 0
        await pool.aclose()


@pytest.mark.parametrize("answer", [HI, CHUNKED_HI], ids=["length", "chunked"])
@on_both_loops
async def test_a_close_at_any_byte_is_a_failure(answer: bytes) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(answer[: visit.number])

    async with hostile(script) as upstream:
        pool = pool_to(upstream.port)

        failures = [await fail(pool) for _ in range(len(answer))]

        assert {type(failure) for failure in failures} == {UpstreamBroken}
        await pool.aclose()


@on_both_loops
async def test_a_connection_closed_while_idle_is_known_as_stale() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(HI)
        await visit.request()

    async with hostile(script) as upstream:
        pool = pool_to(upstream.port)
        await fetch(pool)

        async with Exchange(await pool.acquire()) as exchange:
            exchange.begin(b"GET", GET)
            with pytest.raises(UpstreamBroken) as caught:
                await exchange.head()

        assert (exchange.was_reused, caught.value.sent, caught.value.answered) == (True, True, False)
        await pool.aclose()


# --- early answers and upgrades -----------------------------------------------------------------------------------


@on_both_loops
async def test_an_early_answer_is_delivered_and_ends_the_sending() -> None:
    async with hostile(answering(HI)) as upstream:
        pool = pool_to(upstream.port)

        async with Exchange(await pool.acquire()) as exchange:
            exchange.begin(b"POST", POST, body_follows=True)
            head = await exchange.head()
            body = b"".join([piece async for piece in exchange.body()])
            wants_more = await exchange.send(chunk(b"more"))

        assert (head.status, body, wants_more, pool.counts.idle) == (200, b"hi", False, 0)
        await pool.aclose()


@on_both_loops
async def test_the_answer_of_an_upstream_that_slams_the_door_is_heard() -> None:
    """It closes with the request unread, so that the kernel resets what we still send."""
    closed = asyncio.Event()

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nhi")
        visit.reset()
        closed.set()

    async with hostile(script) as upstream:
        pool = pool_to(upstream.port)

        async with Exchange(await pool.acquire()) as exchange:
            exchange.begin(b"POST", POST, body_follows=True)
            await closed.wait()
            await exchange.send(chunk(b"x" * 65536))
            head = await exchange.head()

        assert head.status == 413
        await pool.aclose()


@on_both_loops
async def test_a_body_arrives_in_chunks_and_the_connection_is_kept() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        while not visit.received.endswith(LAST_CHUNK):
            visit.received += await visit.reader.read(65536)
        await visit.send(HI)
        await visit.until_left()

    async with hostile(script) as upstream:
        pool = pool_to(upstream.port)

        async with Exchange(await pool.acquire()) as exchange:
            exchange.begin(b"POST", POST, body_follows=True)
            assert await exchange.send(chunk(b"one") + chunk(b"") + chunk(b"two"))
            await exchange.send(LAST_CHUNK)
            exchange.finish()
            await exchange.head()
            async for _ in exchange.body():
                pass

        assert upstream.visits[0].received == POST + b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
        assert pool.counts.idle == 1
        await pool.aclose()


@on_both_loops
async def test_an_accepted_upgrade_carries_raw_bytes_both_ways() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(SWITCHING + b"first")
        await visit.send(await visit.reader.readexactly(4))

    async with hostile(script) as upstream:
        pool = pool_to(upstream.port)

        async with Exchange(await pool.acquire()) as exchange:
            exchange.begin(b"GET", GET, allows_upgrade=True)
            head = await exchange.head()
            await exchange.send(b"ping")
            body = b"".join([piece async for piece in exchange.body()])

        assert (head.status, body, pool.counts.idle) == (101, b"firstping", 0)
        await pool.aclose()


# --- giving up ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [b"", OK + b"Content-Length: 9\r\n\r\nhi"], ids=["head", "body"])
@on_both_loops
async def test_a_cancelled_reader_closes_the_upstream_at_once(answer: bytes) -> None:
    async with hostile(answering(answer)) as upstream:
        pool = pool_to(upstream.port)

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await fetch(pool)

        await eventually(lambda: pool.counts.open == 0)
        await pool.aclose()


@on_both_loops
async def test_leaving_a_body_unread_closes_the_upstream_at_once() -> None:
    async with hostile(answering(OK + b"Content-Length: 9\r\n\r\nhi")) as upstream:
        pool = pool_to(upstream.port)

        async with Exchange(await pool.acquire()) as exchange:
            exchange.begin(b"GET", GET)
            await exchange.head()

        await eventually(lambda: pool.counts.open == 0)
        with pytest.raises(UpstreamBroken):
            await anext(exchange.body())
        await pool.aclose()


@on_both_loops
async def test_a_dropped_rest_is_never_presented_as_the_end() -> None:
    async with hostile(answering(HI)) as upstream:
        pool = pool_to(upstream.port)

        async with Exchange(await pool.acquire()) as exchange:
            exchange.begin(b"GET", GET)
            await exchange.head()
            await eventually(lambda: pool.counts.idle == 1)

        with pytest.raises(UpstreamBroken):
            await anext(exchange.body())
        await pool.aclose()
