"""Deadlines and back-pressure of the upstream connection, over real sockets."""

import asyncio

import pytest

from app.edge.chunked import LAST_CHUNK, chunk
from app.edge.upstream_exchange import HIGH_WATER_BYTES, Exchange
from app.edge.upstream_failures import Phase, UpstreamTimedOut
from app.edge.upstream_sink import Deadlines
from tests.wire.hostile import (
    GET,
    HI,
    OK,
    POST,
    Visit,
    answering,
    deaf,
    eventually,
    fail,
    hostile,
    on_both_loops,
    pool_to,
    silent,
)

HASTY = Deadlines(response_timeout_s=0.1, idle_timeout_s=0.1, write_timeout_s=0.1)


@on_both_loops
async def test_silence_before_the_head_is_a_timeout() -> None:
    async with hostile(silent) as upstream:
        pool = pool_to(upstream.port)

        failure = await fail(pool, deadlines=HASTY)

        assert isinstance(failure, UpstreamTimedOut)
        assert (failure.phase, failure.answered, pool.counts.open) == (Phase.HEAD, False, 0)
        await pool.aclose()


@pytest.mark.parametrize("begun", [OK + b"Content-Length: 3\r\n\r\nhi", OK + b"\r\n"], ids=["length", "close"])
@on_both_loops
async def test_silence_within_the_body_is_a_timeout(begun: bytes) -> None:
    async with hostile(answering(begun)) as upstream:
        pool = pool_to(upstream.port)

        failure = await fail(pool, deadlines=HASTY)

        assert isinstance(failure, UpstreamTimedOut)
        assert (failure.phase, failure.answered) == (Phase.BODY, True)
        await pool.aclose()


@on_both_loops
async def test_an_upstream_that_stops_reading_is_a_timeout() -> None:
    async with hostile(deaf) as upstream:
        pool = pool_to(upstream.port)

        async with Exchange(await pool.acquire()) as exchange:
            exchange.begin(b"POST", POST, deadlines=HASTY, body_follows=True)
            with pytest.raises(UpstreamTimedOut) as caught:
                await send_blocks(exchange, 3200)

        assert (caught.value.phase, caught.value.sent) == (Phase.SEND, True)
        await pool.aclose()


@on_both_loops
async def test_no_deadline_runs_while_the_request_is_not_finished() -> None:
    async with hostile(answering(HI)) as upstream:
        pool = pool_to(upstream.port)
        hasty = Deadlines(response_timeout_s=0.05)

        async with Exchange(await pool.acquire()) as exchange:
            exchange.begin(b"POST", POST[:-2], deadlines=hasty, body_follows=True)
            await asyncio.sleep(0.2)  # the fact under test is that time passes
            await exchange.send(b"\r\n" + LAST_CHUNK)
            exchange.finish()

            assert (await exchange.head()).status == 200
        await pool.aclose()


@on_both_loops
async def test_the_idle_deadline_stands_still_while_we_do_not_read() -> None:
    blob = b"x" * 8_000_000

    async with hostile(answering(OK + b"Content-Length: %d\r\n\r\n" % len(blob) + blob)) as upstream:
        pool = pool_to(upstream.port)

        async with Exchange(await pool.acquire()) as exchange:
            exchange.begin(b"GET", GET, deadlines=Deadlines(idle_timeout_s=0.1))
            await exchange.head()
            await eventually(lambda: exchange.buffered_bytes > HIGH_WATER_BYTES)
            await asyncio.sleep(0.3)  # the fact under test is that time passes
            received = sum([len(piece) async for piece in exchange.body()])

        assert received == len(blob)
        await pool.aclose()


# --- back-pressure ------------------------------------------------------------------------------------------------


@on_both_loops
async def test_a_reader_that_does_not_read_holds_the_upstream_back() -> None:
    total_bytes, block = 200_000_000, b"x" * 500_000

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(OK + b"Content-Length: %d\r\n\r\n" % total_bytes)
        for _ in range(total_bytes // len(block)):
            await visit.send(block)
        await visit.until_left()

    async with hostile(script) as upstream:
        pool = pool_to(upstream.port)

        async with Exchange(await pool.acquire()) as exchange:
            exchange.begin(b"GET", GET)
            await exchange.head()
            await eventually(lambda: exchange.buffered_bytes > HIGH_WATER_BYTES)
            sent_bytes = -1
            while sent_bytes != upstream.visits[0].sent_bytes:
                sent_bytes = upstream.visits[0].sent_bytes
                await asyncio.sleep(0.05)

            assert sent_bytes < total_bytes / 4  # what the kernel's buffers hold
            assert exchange.buffered_bytes <= HIGH_WATER_BYTES + 2 * 262_144  # one read more, and one under way
            peak_bytes = 0
            async for _ in exchange.body():
                peak_bytes = max(peak_bytes, exchange.buffered_bytes)
            assert peak_bytes <= HIGH_WATER_BYTES + 2 * 262_144
        assert pool.counts.idle == 1
        await pool.aclose()


@on_both_loops
async def test_an_upstream_that_does_not_read_holds_the_sender_back() -> None:
    async with hostile(deaf) as upstream:
        pool = pool_to(upstream.port)

        async with Exchange(await pool.acquire()) as exchange:
            exchange.begin(b"POST", POST, body_follows=True)
            with pytest.raises(TimeoutError):  # 200 MB do not fit into the buffers of two sockets
                await asyncio.wait_for(send_blocks(exchange, 3200), timeout=1)

        await eventually(lambda: pool.counts.open == 0)
        await pool.aclose()


async def send_blocks(exchange: Exchange, blocks: int) -> None:
    for _ in range(blocks):
        await exchange.send(chunk(b"x" * 65536))
