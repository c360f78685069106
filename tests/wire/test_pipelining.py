"""Requests behind one another on a client's connection: in order, within bounds, none lost, none taken for another."""

import asyncio
import time
from itertools import pairwise

import pytest

from tests.wire.caller import Caller, get, post, post_chunks
from tests.wire.counting import Counting
from tests.wire.front import Front
from tests.wire.hostile import HI, OK, Visit, answering, eventually

PATIENCE_S = 5
TURN_S = 0.5


@pytest.mark.parametrize("requests", [2000, pytest.param(10_000, marks=pytest.mark.soak)])
async def test_thousands_of_requests_in_one_write_are_answered_in_order(front: Front, requests: int) -> None:
    async def script(visit: Visit) -> None:
        while True:
            path = (await visit.request()).split()[1]
            await visit.send(OK + b"Content-Length: %d\r\n\r\n" % len(path) + path)

    async with front.upstream(script), front.calling() as caller:
        whole = b"".join(get(b"/main/%d" % number) for number in range(requests))
        begun_s = time.monotonic()
        async with asyncio.TaskGroup() as group:
            group.create_task(send_all(caller, whole))
            answers = [(await caller.answer()).body for _ in range(requests)]
        print(f"{requests} pipelined requests: {(time.monotonic() - begun_s) * 1000:.0f} ms")  # noqa: T201 - read with -s

        assert answers == [b"/main/%d" % number for number in range(requests)]
        await front.is_at_rest()
        assert front.counts().idle == 1


async def test_thousands_of_refusals_in_one_write_leave_room_for_others(front: Front) -> None:
    """One read delivers them all; whoever asks meanwhile has the next turn."""
    requests = 8000
    async with front.upstream(answering(HI)), front.calling() as caller:
        loop = front.loop
        turns: list[float] = []

        def turn() -> None:
            turns.append(time.monotonic())
            if not is_over.is_set():
                loop.call_soon(turn)

        is_over = asyncio.Event()
        loop.call_soon_threadsafe(turn)
        async with asyncio.TaskGroup() as group:
            group.create_task(send_all(caller, get(b"/") * requests))
            statuses = {(await caller.answer()).status for _ in range(requests)}
        is_over.set()

        gaps = sorted(later - earlier for earlier, later in pairwise(turns))
        print(f"longest turn: {gaps[-1] * 1000:.1f} ms")  # noqa: T201 - read with -s
        assert statuses == {404}
        assert gaps[-1] < TURN_S


async def send_all(caller: Caller, whole: bytes) -> None:
    caller.writer.write(whole)
    async with asyncio.timeout(6 * PATIENCE_S):
        await caller.writer.drain()


async def test_what_is_pipelined_waits_within_bounds(front: Front) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await asyncio.wait_for(may_answer.wait(), PATIENCE_S)
        await visit.send(HI)
        while True:
            await visit.request()
            await visit.send(HI)

    may_answer = asyncio.Event()
    async with front.upstream(script), front.calling() as caller:
        caller.writer.write(get(b"/main/x", b"X-A: " + b"a" * 1000) * 30_000)
        await caller.until_held_back()
        may_answer.set()

        for _ in range(300):
            assert (await caller.answer()).body == b"hi"


BEHIND = {
    "a chunked body that is too large": post_chunks(b"/small/x", b"x" * 1001, b""),
    "a body that is too large": post(b"/small/x", b"x" * 1001),
    "a body nobody wants": post(b"/nowhere", b"x" * 60_000),
    "a body": post(b"/main/x", b"hello"),
    "chunks": post_chunks(b"/main/x", b"hello", b""),
    "a refusal": get(b"/mine/x"),
    "a preflight": get(
        b"/main/x", b"Origin: https://page.test", b"Access-Control-Request-Method: PUT", method=b"OPTIONS"
    ),
    "an answer of our own": get(b"/api/health/ping"),
    "a body for one of our own": post(b"/local", b"{}"),
}


@pytest.mark.parametrize("split", [0, 1, 2, 3, 5, 8, 40], ids=lambda one: f"{one} bytes apart")
@pytest.mark.parametrize("first", BEHIND.values(), ids=BEHIND)
async def test_the_request_behind_another_is_found_wherever_the_bytes_are_cut(
    front: Front, first: bytes, split: int
) -> None:
    whole = first + get(b"/main/second")
    async with front.upstream(Counting()), front.calling() as caller:
        at = len(first) - 20 + split
        if split:
            await caller.send(whole[:at])
            await asyncio.sleep(0.01)
        await caller.send(whole[at:] if split else whole)
        await caller.answer()
        second = await caller.answer()

        assert (second.status, second.body) == (200, b"hi")


@pytest.mark.parametrize("target", [b"/nowhere", b"/small/x", b"/mine/x"])
async def test_a_refusal_before_the_end_of_a_chunked_body_says_that_it_closes(front: Front, target: bytes) -> None:
    """Nobody knows how much is still to come: a client that believed the connection kept would lose a request."""
    whole = post_chunks(target, b"x" * 1001, b"")
    async with front.upstream(Counting()), front.calling() as caller:
        await caller.send(whole[:-5])
        answered = await caller.answer()

        assert answered.status in {401, 404, 413}
        assert answered.all(b"connection") == [b"close"]
        await caller.send(whole[-5:])
        assert await caller.is_cut()


async def test_the_refusal_of_a_head_has_nothing_of_the_request_before_it(front: Front) -> None:
    async with front.upstream(Counting()), front.calling() as caller:
        await caller.send(get(b"/main/first", method=b"HEAD"))
        await caller.answer(b"HEAD")
        await caller.send(get(b"/main/second?" + b"x" * 9000))
        answered = await caller.answer()

        assert (answered.status, answered.is_whole) == (414, True)
        assert answered.problem["instance"] == "/main/second"
        await eventually(lambda: len(front.answered) == 2)
        assert (front.answered[1]["method"], front.answered[1]["path"]) == ("GET", "/main/second")


async def test_the_refusal_of_a_malformed_head_names_its_path(front: Front) -> None:
    async with front.calling() as caller:
        await caller.send(b"HEAD /main/x HTTP/1.1\r\nHost : front\r\n\r\n")
        answered = await caller.answer(b"HEAD")

        assert answered.status == 400
        assert await caller.is_cut()
        line = await front.line()
        assert (line["method"], line["path"], line["reason"]) == ("HEAD", "/main/x", "head_malformed")
