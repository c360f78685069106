"""The pool over real sockets: bounds, order, and nothing left behind by whoever gives up."""

import asyncio
import socket
from collections.abc import Coroutine
from pathlib import Path

import pytest

from app.edge.upstream_exchange import Exchange
from app.edge.upstream_failures import (
    ConnectFailed,
    ConnectRefused,
    ConnectTimedOut,
    Phase,
    PoolExhausted,
    UpstreamBroken,
    UpstreamFailure,
)
from app.edge.upstream_pool import Endpoint, PoolCounts, UpstreamPool
from tests.wire.hostile import GET, HI, Visit, answering, eventually, fetch, hostile, on_both_loops, pool_to, silent

FULL = PoolCounts(open=1, idle=0, in_use=1, waiting=0, connects=1)


@on_both_loops
async def test_no_more_connections_than_allowed_serve_many_callers() -> None:
    async with hostile(answering(*[HI] * 100)) as upstream:
        pool = pool_to(upstream.port, max_connections=4)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(fetch(pool)) for _ in range(60)]

        assert {task.result()[1] for task in tasks} == {b"hi"}
        assert pool.counts == PoolCounts(open=4, idle=4, in_use=0, waiting=0, connects=4)
        assert len(upstream.visits) == 4
        await pool.aclose()


@on_both_loops
async def test_the_wait_for_a_connection_is_bounded() -> None:
    async with hostile(silent) as upstream:
        pool = pool_to(upstream.port, max_connections=1)
        await pool.acquire()

        with pytest.raises(PoolExhausted) as caught:
            await pool.acquire(wait_s=0.05)

        assert (caught.value.phase, caught.value.sent, pool.counts) == (Phase.WAIT, False, FULL)
        await pool.aclose()


@on_both_loops
async def test_the_line_for_a_connection_is_bounded() -> None:
    async with hostile(silent) as upstream:
        pool = UpstreamPool(Endpoint("127.0.0.1", upstream.port), max_connections=1, max_waiting=0)
        await pool.acquire()

        with pytest.raises(PoolExhausted):
            await pool.acquire(wait_s=60)

        await pool.aclose()


@on_both_loops
async def test_who_waits_first_is_served_first() -> None:
    async with hostile(answering(*[HI] * 4)) as upstream:
        pool = pool_to(upstream.port, max_connections=1)
        served: list[int] = []

        async def wait_and_fetch(number: int) -> None:
            await fetch(pool)
            served.append(number)

        async with asyncio.TaskGroup() as group:
            for number in range(4):
                group.create_task(wait_and_fetch(number))

        assert served == [0, 1, 2, 3]
        await pool.aclose()


@on_both_loops
async def test_the_connection_used_last_is_taken_first() -> None:
    async with hostile(answering(*[HI] * 4)) as upstream:
        pool = pool_to(upstream.port)
        async with asyncio.TaskGroup() as group:
            group.create_task(fetch(pool))
            group.create_task(fetch(pool))

        latest = pool.acquire_nowait()
        assert latest is not None
        latest.abort()
        await eventually(lambda: pool.counts.open == 1)

        assert latest is not pool.acquire_nowait()
        await pool.aclose()


@on_both_loops
async def test_a_freed_slot_goes_to_who_waits() -> None:
    async with hostile(answering(HI)) as upstream:
        pool = pool_to(upstream.port, max_connections=1)
        first = await pool.acquire()

        async with asyncio.TaskGroup() as group:
            task = group.create_task(fetch(pool))
            await eventually(lambda: pool.counts.waiting == 1)
            first.abort()

        assert task.result()[1] == b"hi"
        assert pool.counts.connects == 2
        await pool.aclose()


@on_both_loops
async def test_cancelled_waiters_leave_the_line() -> None:
    async with hostile(silent) as upstream:
        pool = pool_to(upstream.port, max_connections=1)
        await pool.acquire()

        async with asyncio.TaskGroup() as group:
            waiters = [group.create_task(pool.acquire(wait_s=60)) for _ in range(10)]
            await eventually(lambda: pool.counts.waiting == 10)
            for waiter in waiters:
                waiter.cancel()

        assert pool.counts == FULL
        await pool.aclose()


@pytest.mark.parametrize("is_kept", [True, False], ids=["connection", "slot"])
@on_both_loops
async def test_what_is_granted_to_a_waiter_cancelled_in_the_same_moment_goes_on(*, is_kept: bool) -> None:
    gate = asyncio.Event()

    async def script(visit: Visit) -> None:
        await visit.request()
        await gate.wait()
        await visit.send(HI)
        await visit.until_left()

    async with hostile(script) as upstream:
        pool = pool_to(upstream.port, max_connections=1)
        exchange = Exchange(await pool.acquire())
        exchange.begin(b"GET", GET)

        async with asyncio.TaskGroup() as group:
            given_up = group.create_task(pool.acquire(wait_s=60))
            patient = group.create_task(pool.acquire(wait_s=60))
            await eventually(lambda: pool.counts.waiting == 2)
            gate.set()
            if not is_kept:
                exchange.abort()
            while pool.counts.waiting == 2:  # noqa: ASYNC110 - stops in the step of the grant, before its waiter runs
                await asyncio.sleep(0)
            given_up.cancel()
            connection = await patient

        assert given_up.cancelled()
        assert (connection.is_reusable(), connection.was_reused, pool.counts.in_use) == (True, False, 1)
        assert pool.counts.connects == (1 if is_kept else 2)
        await pool.aclose()


@on_both_loops
async def test_nobody_listening_is_refused_at_once() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        pool = pool_to(unused.getsockname()[1])

        with pytest.raises(ConnectRefused) as caught:
            await pool.acquire()

    assert (caught.value.phase, caught.value.sent, pool.counts.open) == (Phase.CONNECT, False, 0)
    await pool.aclose()


@pytest.mark.parametrize("host", ["nowhere.invalid", "a" * 70 + ".invalid", ""], ids=["unknown", "impossible", "none"])
@on_both_loops
async def test_a_name_without_an_address_fails_to_connect(host: str) -> None:
    pool = UpstreamPool(Endpoint(host, 1))

    with pytest.raises((ConnectFailed, ConnectTimedOut)):
        await pool.acquire(connect_timeout_s=5)

    assert pool.counts.open == 0
    await pool.aclose()


@on_both_loops
async def test_an_upstream_that_does_not_accept_is_a_connect_timeout() -> None:
    with socket.socket() as full, socket.socket() as filler:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        filler.connect(full.getsockname())  # the backlog of one is taken: the kernel drops the next SYN
        pool = pool_to(full.getsockname()[1])

        with pytest.raises(ConnectTimedOut) as caught:
            await pool.acquire(connect_timeout_s=0.1)

        assert (caught.value.phase, caught.value.sent, pool.counts.open) == (Phase.CONNECT, False, 0)
        await pool.aclose()


@on_both_loops
async def test_a_cancelled_dial_leaves_nothing() -> None:
    with socket.socket() as full, socket.socket() as filler:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        filler.connect(full.getsockname())
        pool = pool_to(full.getsockname()[1], max_connections=1)

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await pool.acquire(connect_timeout_s=60)

        assert pool.counts.open == 0
        await pool.aclose()


@on_both_loops
async def test_a_cancel_at_any_step_of_a_request_leaves_nothing() -> None:
    async with hostile(answering(*[HI] * 1000)) as upstream:
        pool = pool_to(upstream.port, max_connections=2)

        for steps in range(40):
            async with asyncio.TaskGroup() as group:
                task = group.create_task(fetch(pool))
                for _ in range(steps):
                    await asyncio.sleep(0)
                task.cancel()
            await eventually(lambda: pool.counts.in_use == 0)

        assert (await fetch(pool))[1] == b"hi"
        await pool.aclose()


@on_both_loops
async def test_connections_idle_too_long_are_closed() -> None:
    async with hostile(answering(HI)) as upstream:
        pool = UpstreamPool(Endpoint("127.0.0.1", upstream.port), keepalive_s=0.05)

        await fetch(pool)

        await eventually(lambda: pool.counts.open == 0)
        await pool.aclose()


@on_both_loops
async def test_an_upstream_may_listen_on_a_unix_socket(tmp_path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HI)
        await reader.read()
        writer.close()

    path = str(tmp_path / "upstream.sock")
    server = await asyncio.start_unix_server(answer, path)
    pool = UpstreamPool(Endpoint(path=path))

    _, body = await fetch(pool)

    assert body == b"hi"
    await pool.aclose()
    server.close()
    await server.wait_closed()


@on_both_loops
async def test_closing_the_pool_breaks_what_is_going_on() -> None:
    async with hostile(silent) as upstream:
        pool = pool_to(upstream.port, max_connections=1)

        async with asyncio.TaskGroup() as group:
            going_on = group.create_task(outcome(fetch(pool)))
            waiting = group.create_task(outcome(pool.acquire(wait_s=60)))
            await eventually(lambda: pool.counts.waiting == 1 and len(upstream.visits) == 1)
            await pool.aclose()

        assert isinstance(going_on.result(), UpstreamBroken)
        assert isinstance(waiting.result(), PoolExhausted)
        with pytest.raises(PoolExhausted):
            await pool.acquire()


async def outcome(attempt: Coroutine[None, None, object]) -> object:
    try:
        return await attempt
    except UpstreamFailure as failure:
        return failure
