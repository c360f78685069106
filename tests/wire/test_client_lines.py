"""The protocol mount and one client's connection: who leaves unseen, who is slow, and how many there may be."""

import asyncio
import gc
import time

import pytest

from app.edge.protocol import EdgeProtocol
from app.edge.protocol_clock import ClientClock
from app.edge.protocol_head import HeadParser
from tests.wire.caller import LEAVES, Caller, Leave, get, post, post_chunks
from tests.wire.front import IDLE_S, Front
from tests.wire.hostile import HI, OK, Visit, answering, deaf, eventually, open_sockets, silent

CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
PATIENCE_S = 5
LEAVE_S = 2
"""what is promised is 0.1 s; this machine may be busy with something else"""


def say(what: str, begun_s: float) -> None:
    print(f"{what}: {(time.monotonic() - begun_s) * 1000:.0f} ms")  # noqa: T201 - read with -s


# --- whoever leaves ---------------------------------------------------------------------------------------------------


async def test_a_client_that_leaves_an_upload_nobody_reads_is_missed_at_once(front: Front) -> None:
    """By its reset: a FIN would stand behind bytes the kernel has no room for, where nobody can see it."""
    async with front.upstream(deaf) as upstream, front.calling() as caller:
        caller.writer.write(get(b"/main/x", b"Content-Length: 50000000", method=b"POST") + b"x" * 30_000_000)
        await eventually(lambda: front.counts().in_use == 1)
        await caller.until_held_back()
        caller.reset()
        begun_s = time.monotonic()

        async with asyncio.timeout(LEAVE_S):
            await front.is_at_rest()
        say("left while its bytes were held back", begun_s)
        assert (await front.line())["reason"] == "client_gone"
        assert front.counts().open == 0
        assert len(upstream.visits) == 1


async def test_a_client_that_leaves_while_its_upload_waits_for_a_connection_is_missed_at_once(front: Front) -> None:
    with front.unconnectable():
        async with front.calling() as caller:
            caller.writer.write(get(b"/main/x", b"Content-Length: 50000000", method=b"POST") + b"x" * 30_000_000)
            await eventually(lambda: front.counts().in_use == 1)
            await caller.until_held_back()
            caller.reset()
            begun_s = time.monotonic()

            async with asyncio.timeout(LEAVE_S):
                await front.is_at_rest()
            say("left while it was dialled for, its bytes held back", begun_s)
            assert (await front.line())["reason"] == "client_gone"


@pytest.mark.parametrize("leave", LEAVES.values(), ids=LEAVES)
async def test_a_client_that_leaves_behind_a_crowd_of_requests_is_missed_at_once(front: Front, leave: Leave) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.until_left()
        is_left.set()

    is_left = asyncio.Event()
    async with front.upstream(script) as upstream, front.calling() as caller:
        await caller.send(get(b"/main/first") + get(b"/main/x") * 2500)
        await eventually(lambda: bool(upstream.visits) and upstream.visits[0].received != b"")
        leave(caller)
        begun_s = time.monotonic()

        await asyncio.wait_for(is_left.wait(), LEAVE_S)
        say("left behind pipelined requests", begun_s)
        await front.is_at_rest()
        assert upstream.visits[0].received.count(b"GET ") == 1


@pytest.mark.parametrize("sent_bytes", [0, 1, 10, 40])
async def test_a_client_that_leaves_within_a_head_leaves_nothing(front: Front, sent_bytes: int) -> None:
    async with front.calling() as caller:
        await caller.send(get(b"/main/a-path-of-some-length")[:sent_bytes])
        await eventually(lambda: front.edge.admission.opened == 1)
        caller.reset()

        await eventually(lambda: front.edge.admission.opened == 0)
        assert front.answered == []


# --- whoever is slow --------------------------------------------------------------------------------------------------


async def test_a_connection_on_which_nothing_is_said_is_closed(front: Front) -> None:
    with front.patience(head_s=IDLE_S):
        async with front.calling() as caller:
            assert await caller.is_cut()
        assert front.answered == []


@pytest.mark.parametrize("first", [get(b"/nowhere"), b""], ids=["behind another", "first"])
async def test_a_head_that_drips_is_a_408_in_time(front: Front, first: bytes) -> None:
    with front.patience(head_s=2 * IDLE_S):
        async with front.calling() as caller:
            if first:
                await caller.send(first)
                await caller.answer()
            begun_s = time.monotonic()
            async with asyncio.TaskGroup() as group:
                dripping = group.create_task(drip(caller, get(b"/main/" + b"x" * 200)))
                answered = await caller.answer()
                dripping.cancel()

            assert (answered.status, answered.problem["type"]) == (408, "head-too-slow")
            assert time.monotonic() - begun_s < 6 * IDLE_S
            assert await caller.is_cut()


async def drip(caller: Caller, whole: bytes) -> None:
    for value in whole:
        await caller.send(bytes((value,)))
        await asyncio.sleep(IDLE_S / 4)


async def test_a_connection_is_kept_for_a_while_and_then_closed(front: Front) -> None:
    with front.patience(keep_alive_s=IDLE_S):
        async with front.upstream(answering(HI)), front.calling() as caller:
            await caller.send(get(b"/main/x"))
            answered = await caller.answer()

            assert answered.status == 200
            assert await caller.is_cut()


async def test_a_reader_that_is_slow_but_reads_gets_everything(front: Front) -> None:
    body = b"x" * 12_000_000
    with front.patience(client_write_s=PATIENCE_S, keep_alive_s=IDLE_S / 2, farewell_s=IDLE_S / 4):
        script = answering(OK + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        async with front.upstream(script), front.calling() as caller:
            # the rest of its body is never sent, so that our end is said early
            await caller.send(get(b"/main/x", b"Content-Length: 100000", method=b"POST"))
            await caller.head()
            received_bytes = 0
            async with asyncio.timeout(3 * PATIENCE_S):
                while received_bytes < len(body) and (piece := await caller.reader.read(600_000)):
                    received_bytes += len(piece)
                    await asyncio.sleep(IDLE_S / 15)

            assert received_bytes == len(body)


async def test_a_farewell_does_not_wait_for_a_client_that_talks_on(front: Front) -> None:
    with front.patience(farewell_s=IDLE_S):
        async with front.calling() as caller:
            await caller.send(get(b"/main/%00", b"Connection: close") + get(b"/main/x") * 10)
            answered = await caller.answer()
            begun_s = time.monotonic()
            async with asyncio.timeout(PATIENCE_S):
                try:
                    while not caller.reader.at_eof() or front.edge.admission.opened:
                        await caller.send(b"x" * 1000)
                        await asyncio.sleep(0.02)
                except ConnectionError:
                    pass

            assert answered.status == 400
            assert time.monotonic() - begun_s < PATIENCE_S / 2


# --- how many ---------------------------------------------------------------------------------------------------------


async def test_an_address_has_only_so_many_connections(front: Front) -> None:
    admission = front.edge.admission
    before, admission.limit_per_address = admission.limit_per_address, 2
    try:
        async with front.calling() as first, front.calling() as second:
            await eventually(lambda: admission.opened == 2)
            async with front.calling() as third:
                refused = await third.answer()
                assert await third.is_cut()
            first.close()
            await eventually(lambda: admission.opened == 1)
            await second.send(get(b"/nowhere"))
            answered = await second.answer()

            assert (refused.status, refused.first(b"retry-after")) == (503, b"1")
            assert answered.status == 404
            assert (await front.ask(get(b"/nowhere"))).status == 404
    finally:
        admission.limit_per_address = before


async def test_a_worker_has_only_so_many_connections(front: Front) -> None:
    admission = front.edge.admission
    await eventually(lambda: admission.opened == 0)
    before, admission.limit = admission.limit, 1
    try:
        async with front.calling() as first:
            await first.send(get(b"/nowhere"))
            assert (await first.answer()).status == 404
            async with front.calling() as second:
                assert (await second.answer()).status == 503
    finally:
        admission.limit = before


async def test_a_body_that_is_turned_away_unseen_ends_its_connection(front: Front) -> None:
    """Nobody has looked at its framing yet, so that nobody may look for another request behind it."""
    load = front.edge.load
    before, load.max_requests = load.max_requests, 1
    try:
        async with front.upstream(silent), front.calling() as first, front.calling() as caller:
            await first.send(get(b"/main/x"))
            await eventually(lambda: load.is_full)
            await caller.send(get(b"/main/x"))
            without = await caller.answer()
            await caller.send(get(b"/main/x", b"Transfer-Encoding: gzip, chunked", method=b"POST") + b"0\r\n\r\n")
            with_body = await caller.answer()

            assert (without.status, without.all(b"connection")) == (503, [])
            assert (with_body.status, with_body.all(b"connection")) == (503, [b"close"])
            assert await caller.is_cut()
    finally:
        load.max_requests = before
    await eventually(lambda: not load.is_full)


@pytest.mark.parametrize("requests", [300, pytest.param(10_000, marks=pytest.mark.soak)])
async def test_requests_that_are_given_up_leave_nothing_behind(front: Front, requests: int) -> None:
    sockets = open_sockets()
    async with front.upstream(silent) as upstream:
        for number in range(requests):
            async with front.calling() as caller:
                await caller.send(ABORTED[number % len(ABORTED)])
                if number % 3:
                    await asyncio.sleep(0)
                (caller.reset if number % 2 else caller.close)()
        await front.is_at_rest()
        await eventually(lambda: front.edge.admission.opened == 0)
        await eventually(lambda: front.counts().open == 0)

        print(f"{requests} requests given up, {len(upstream.visits)} had reached the upstream")  # noqa: T201
        assert front.edge.gauges.connections_open == 0
        assert front.edge.load.requests_open == 0
        assert front.tasks() == []
    await eventually(lambda: open_sockets() <= sockets)


ABORTED = (
    get(b"/main/x"),
    get(b"/main/x")[:20],
    post(b"/main/x", b"hello")[:-2],
    post_chunks(b"/main/x", b"hello"),
    get(b"/mine/x"),
    get(b"/main/x") * 5,
    b"",
)


REQUESTS = {
    "proxied": get(b"/main/x"),
    "local": get(b"/local"),
    "refused": get(b"/nowhere"),
    "malformed": get(b"/main/x", b"no colon"),
    "half a head": b"GET /main/x HTTP/1.1",
}


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
async def test_a_connection_that_is_over_is_gone_at_once(front: Front, request_: bytes) -> None:
    """Nothing of it holds itself, so that nobody has to search for it."""
    await eventually(lambda: not front.edge.admission.opened)
    gc.collect()
    gc.disable()
    try:
        before = _protocols()
        async with front.upstream(answering(HI)), front.calling() as caller:
            await caller.send(request_)
            if request_.endswith(b"\r\n\r\n"):
                await caller.answer()
            await front.is_at_rest()
        await eventually(lambda: not front.edge.admission.opened)

        await eventually(lambda: _protocols() == before)
    finally:
        gc.enable()


def _protocols() -> int:
    return sum(isinstance(one, EdgeProtocol | ClientClock | HeadParser) for one in gc.get_objects())
