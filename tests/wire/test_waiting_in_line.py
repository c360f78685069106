"""Requests that wait before they are read, since there are too many: served, turned away, or gone."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import pytest

from app.edge.line import Line
from app.kernel.waiting import Patience
from tests.builders import a_token
from tests.wire.caller import LEAVES, Caller, Leave, get, post, post_chunks
from tests.wire.front import IDLE_S, Front
from tests.wire.hostile import HI, OK, Visit, answering, eventually

PATIENT = Patience(few=0, burst_s=60, fresh_s=60, longest_s=60)
IMPATIENT = Patience(few=0, burst_s=0, fresh_s=0, longest_s=IDLE_S)
KNOWN = get(b"/main/known")
HELLO = OK + b"Content-Length: 5\r\n\r\nhello"


class Nobody:
    """Stands in line, so that there is one."""

    waits = False

    def be_served(self) -> None: ...
    def be_turned_away(self) -> None: ...


@dataclass(slots=True)
class Crowd:
    has_room: bool = False


@contextmanager
def crowded(front: Front, patience: Patience) -> Iterator[Crowd]:
    """Let everybody wait behind somebody, until there is room or patience is lost."""
    crowd, load, line = Crowd(), front.edge.load, front.edge.load.line
    load.line = Line(patience, lambda: crowd.has_room)
    few, load.few_requests, load.is_busy = load.few_requests, 0, True
    front.loop.call_soon_threadsafe(load.line.wait, Nobody())
    try:
        yield crowd
    finally:
        load.line, load.few_requests, load.is_busy = line, few, False


async def is_waiting(front: Front, count: int = 1) -> None:
    await eventually(lambda: len(front.edge.load.line) == count + 1)


async def hears_nothing(caller: Caller) -> bool:
    try:
        async with asyncio.timeout(IDLE_S):
            await caller.head()
    except TimeoutError:
        return True
    return False


REQUESTS = {
    "proxied": get(b"/main/x"),
    "known": KNOWN,
    "with a body": post(b"/main/x", b"x" * 1000),
    "chunked": post_chunks(b"/main/x", b"x" * 1000, b""),
}


async def script(visit: Visit) -> None:
    """Answer every request; bodies end with the last byte of what is sent here."""
    while head := await visit.request():
        if b"\r\ncontent-length: 1000" in head:
            await visit.reader.readexactly(1000)
        elif b"\r\ntransfer-encoding" in head:
            await visit.reader.readuntil(b"0\r\n\r\n")
        await visit.send(HELLO)


async def make_known(front: Front) -> None:
    assert (await front.ask(KNOWN)).status == 200


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
async def test_who_waits_is_served_when_there_is_room(front: Front, request_: bytes) -> None:
    async with front.upstream(script), front.calling() as caller:
        await make_known(front)
        with crowded(front, PATIENT) as crowd:
            await caller.send(request_)
            await is_waiting(front)
            assert await hears_nothing(caller)

            crowd.has_room = True
            answered = await caller.answer()

        assert (answered.status, answered.body) == (200, b"hello")


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
async def test_who_waits_in_vain_is_turned_away_and_served_the_next_time(front: Front, request_: bytes) -> None:
    async with front.upstream(script) as upstream, front.calling() as caller:
        await make_known(front)
        await front.forget()
        visits = len(upstream.visits)
        with crowded(front, IMPATIENT):
            await caller.send(request_)
            answered = await caller.answer()

            assert (answered.status, answered.problem["type"]) == (503, "overloaded")
            assert answered.first(b"retry-after") == b"1"
            assert answered.problem["instance"] == request_.split()[1].decode()
            assert answered.first(b"x-request-id") == answered.problem["request_id"].encode()
            line = await front.line()
            assert (line["status"], line["reason"]) == (503, "overloaded")
            assert line["request_id"] == answered.problem["request_id"]
            assert len(upstream.visits) == visits
        if answered.first(b"connection") != b"close":
            await caller.send(KNOWN)
            assert (await caller.answer()).status == 200


async def test_where_nobody_looked_for_the_end_of_a_body_the_connection_ends(front: Front) -> None:
    async with front.calling() as caller:
        with crowded(front, IMPATIENT):
            await caller.send(post(b"/main/never-read", b"x" * 1000))
            answered = await caller.answer()

        assert (answered.status, answered.first(b"connection")) == (503, b"close")
        assert await caller.is_cut()


async def test_a_page_can_read_why_it_was_turned_away(front: Front) -> None:
    with crowded(front, IMPATIENT):
        answered = await front.ask(get(b"/main/x", b"Origin: https://page.test"))

    assert (answered.status, answered.first(b"access-control-allow-origin")) == (503, b"https://page.test")


async def test_everything_that_was_pipelined_is_turned_away_in_order(front: Front) -> None:
    paths = [b"/main/%d" % number for number in range(50)]
    async with front.calling() as caller:
        with crowded(front, IMPATIENT):
            await caller.send(b"".join(get(path) for path in paths))
            answers = [await caller.answer() for _ in paths]

        assert {answered.status for answered in answers} == {503}
        assert [answered.problem["instance"].encode() for answered in answers] == paths


async def test_what_is_pipelined_behind_a_request_waits_again(front: Front) -> None:
    async with front.upstream(script), front.calling() as caller:
        with crowded(front, PATIENT) as crowd:
            await caller.send(get(b"/main/1") + get(b"/main/2"))
            await is_waiting(front)
            crowd.has_room = True

            assert [(await caller.answer()).status for _ in range(2)] == [200, 200]


async def test_a_head_that_comes_in_pieces_is_served_whole(front: Front) -> None:
    async with front.upstream(script), front.calling() as caller:
        with crowded(front, PATIENT) as crowd:
            await caller.send(KNOWN[:10])
            await is_waiting(front)
            await caller.send(KNOWN[10:20])
            crowd.has_room = True
            await eventually(lambda: not front.edge.load.line)
            await caller.send(KNOWN[20:])

            assert (await caller.answer()).status == 200


@pytest.mark.parametrize("sent", [KNOWN[:1], KNOWN[:-1]])
async def test_a_head_that_is_never_whole_is_a_408_even_in_line(front: Front, sent: bytes) -> None:
    with front.patience(head_s=IDLE_S), crowded(front, PATIENT):
        async with front.calling() as caller:
            await caller.send(sent)
            answered = await caller.answer()

            assert (answered.status, answered.problem["type"]) == (408, "head-too-slow")
            assert await caller.is_cut()


async def test_a_head_that_is_whole_is_not_slow_however_long_it_waits(front: Front) -> None:
    with front.patience(head_s=IDLE_S / 2), crowded(front, PATIENT) as crowd:
        async with front.upstream(script), front.calling() as caller:
            await caller.send(KNOWN)
            await is_waiting(front)
            assert await hears_nothing(caller)
            crowd.has_room = True

            assert (await caller.answer()).status == 200


MALFORMED = {
    "no host": (b"GET /main/x HTTP/1.1\r\nx-y: z\r\n\r\n", 503),  # what the chain minds is not looked at
    "no head": (b"GET /main/x HTTP/1.1\r\nno colon\r\n\r\n", 400),
    "another version": (b"GET /main/x HTTP/3.0\r\nhost: x\r\n\r\n", 400),
    "two lengths": (post(b"/main/x", b"", b"Content-Length: 5"), 503),
    "length and chunks": (post(b"/main/x", b"", b"Transfer-Encoding: chunked"), 400),
}


@pytest.mark.parametrize(("sent", "status"), MALFORMED.values(), ids=MALFORMED)
async def test_what_cannot_be_read_is_refused_and_nothing_behind_it_is_heard(
    front: Front, sent: bytes, status: int
) -> None:
    async with front.calling() as caller:
        with crowded(front, IMPATIENT):
            await caller.send(sent)
            answered = await caller.answer()

        assert answered.status in {status, 400}
        if b"host" in sent.lower():
            assert await caller.is_cut()


async def test_a_head_request_and_an_old_client_are_answered_in_their_way(front: Front) -> None:
    with crowded(front, IMPATIENT):
        async with front.calling() as head, front.calling() as old:
            await head.send(get(b"/main/x", method=b"HEAD"))
            await old.send(get(b"/main/x").replace(b"HTTP/1.1", b"HTTP/1.0"))
            answers = [await head.answer(b"HEAD"), await old.answer()]

            assert [answered.status for answered in answers] == [503, 503]
            assert answers[0].body == b""
            assert await old.is_cut()


@pytest.mark.parametrize("leave", LEAVES.values(), ids=LEAVES)
async def test_who_leaves_the_line_is_forgotten(front: Front, leave: Leave) -> None:
    async with front.upstream(answering(HI)) as upstream, front.calling() as caller:
        with crowded(front, PATIENT) as crowd:
            await caller.send(get(b"/main/x"))
            await is_waiting(front)
            leave(caller)
            await eventually(lambda: not front.edge.admission.opened)
            crowd.has_room = True
            await eventually(lambda: not front.edge.load.line)

        assert upstream.visits == []
        assert front.answered == []


async def test_whether_it_lives_is_told_in_the_greatest_crowd(front: Front) -> None:
    with crowded(front, IMPATIENT):
        answered = await front.ask(get(b"/api/health/ping"))

    assert answered.status != 503


# --- for a connection to an upstream ----------------------------------------------------------------------------------


@contextmanager
def busy(front: Front, patience: Patience | None = None) -> Iterator[None]:
    """Let the worker have many requests open, and time for more."""
    load, upstream = front.edge.load, front.edge.upstreams["crowded"]
    few, load.few_requests, load.is_busy = load.few_requests, 0, True
    line = upstream.line
    if patience is not None:
        upstream.line = Line(patience, upstream.has_room)
    try:
        yield
    finally:
        load.few_requests, load.is_busy, upstream.line = few, False, line


async def test_a_known_request_waits_for_a_connection_before_it_is_read(front: Front) -> None:
    known, answers = get(b"/crowded/x"), asyncio.Event()

    async def slow(visit: Visit) -> None:
        await visit.request()
        await visit.send(HI)
        while await visit.request():
            await answers.wait()
            await visit.send(HELLO)

    async with front.upstream(slow), front.calling() as first, front.calling() as second:
        await first.send(known)
        await first.answer()
        with busy(front):
            await first.send(known)
            await eventually(lambda: front.counts("crowded").in_use == 1)
            await second.send(known)
            await eventually(lambda: len(front.edge.upstreams["crowded"].line) == 1)
            assert front.counts("crowded").waiting == 0
            answers.set()

            assert [(await caller.answer()).body for caller in (first, second)] == [b"hello"] * 2


async def test_for_which_it_waits_no_longer_than_others(front: Front) -> None:
    known = get(b"/crowded/x")

    async def silent_later(visit: Visit) -> None:
        await visit.request()
        await visit.send(HI)
        await visit.until_left()

    async with front.upstream(silent_later), front.calling() as first, front.calling() as second:
        await first.send(known)
        await first.answer()
        with busy(front, IMPATIENT):
            await first.send(known)
            await eventually(lambda: front.counts("crowded").in_use == 1)
            await second.send(known)
            answered = await second.answer()

            assert (answered.status, answered.problem["type"]) == (503, "overloaded")
        first.close()


# --- for their turn at our own endpoints ------------------------------------------------------------------------------


@asynccontextmanager
async def turnstile_in_use(front: Front) -> AsyncIterator[None]:
    """Let nobody through, until the end of the block."""
    turnstile = front.edge.turnstile
    await eventually(lambda: not turnstile._is_used)  # who came last would open it, a round later
    turnstile._is_used = True
    try:
        yield
    finally:
        front.loop.call_soon_threadsafe(turnstile._next)


LOCAL = get(b"/local", b"Authorization: Bearer " + a_token().encode())


async def test_a_local_request_begins_when_it_is_its_turn(front: Front) -> None:
    async with front.calling() as caller:
        async with turnstile_in_use(front):
            await caller.send(LOCAL)
            assert await hears_nothing(caller)

        assert (await caller.answer()).status == 404


@pytest.mark.parametrize("leave", LEAVES.values(), ids=LEAVES)
async def test_a_client_that_leaves_before_is_not_served(front: Front, leave: Leave) -> None:
    async with front.calling() as caller:
        async with turnstile_in_use(front):
            await caller.send(LOCAL)
            await eventually(lambda: front.edge.load.requests_open == 1)
            leave(caller)
            await eventually(lambda: front.edge.load.requests_open == 0)

        line = await front.line()
        assert line["reason"] == "client_gone"


async def test_a_body_that_cannot_be_read_is_refused_before(front: Front) -> None:
    async with front.calling() as caller:
        async with turnstile_in_use(front):
            await caller.send(post_chunks(b"/local", b"x") + b"no chunk\r\n")
            answered = await caller.answer()

        assert (answered.status, answered.problem["type"]) == (400, "head-malformed")
        line = await front.line()
        assert line["reason"] == "head_malformed"
