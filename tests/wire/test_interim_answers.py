"""Answers before the answer (RFC 9110 §15.2): a proxy passes them on, but to who does not know them."""

import asyncio

import pytest

from tests.wire.caller import Answered, Caller, get, post
from tests.wire.front import Front
from tests.wire.hostile import HI, OK, Visit, answering, eventually

HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nLink: </b.js>\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
OLD = b"GET /main/x HTTP/1.0\r\nHost: front\r\n\r\n"
EXPECTING = b"Expect: 100-continue"


async def heads(caller: Caller) -> list[Answered]:
    """Read heads up to the final one."""
    found = [await caller.head()]
    while found[-1].status < 200:
        found.append(await caller.head())
    return found


async def test_hints_come_before_the_answer_is_there(front: Front) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(HINTS)
        await asyncio.wait_for(is_heard.wait(), 5)
        await visit.send(HI)
        await visit.until_left()

    is_heard = asyncio.Event()
    async with front.upstream(script), front.calling() as caller:
        await caller.send(get(b"/main/x"))
        hints = await caller.head()
        is_heard.set()
        answered = await caller.answer()

        assert (hints.status, hints.fields) == (103, [(b"link", b"</a.css>; rel=preload"), (b"link", b"</b.js>")])
        assert (answered.status, answered.body, answered.all(b"link")) == (200, b"hi", [])
        line = await front.line()
        assert (line["status"], line["bytes_out"], line.get("retries", 0)) == (200, 2, 0)


@pytest.mark.parametrize("count", [1, 16])
@pytest.mark.parametrize("status", [102, 103, 104, 199])
async def test_as_many_come_as_were_sent_and_the_connection_is_kept(front: Front, status: int, count: int) -> None:
    async with (
        front.upstream(answering(b"HTTP/1.1 %d Wait\r\n\r\n" % status * count + HI, HI)),
        front.calling() as caller,
    ):
        await caller.send(get(b"/main/x") + get(b"/main/y"))
        first, second = await caller.answer(), await caller.answer()

        assert (first.status, first.body, first.interims) == (200, b"hi", [status] * count)
        assert (second.status, second.body, second.interims) == (200, b"hi", [])
        await front.is_at_rest()
        assert front.counts().idle == 1


async def test_too_many_are_a_broken_answer(front: Front) -> None:
    async with front.upstream(answering(HINTS * 17 + HI)):
        answered = await front.ask(get(b"/unretried/x"))

        assert (answered.status, answered.problem["type"]) == (502, "upstream-broken")


HOP_BY_HOP = (
    b"HTTP/1.1 103 Early\r\nConnection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nTransfer-Encoding: chunked\r\n"
    b"Server: s\r\nX-Powered-By: p\r\nUpgrade: h2c\r\nAccess-Control-Allow-Origin: *\r\nX-Request-Id: 1\r\n"
    b"Link: </a>\r\n\r\n"
)


@pytest.mark.parametrize(
    "interim",
    [HOP_BY_HOP, b"HTTP/1.1 103 Early\r\nContent-Length: 5\r\nLink: </a>\r\n\r\n"],
    ids=["hop by hop", "a length"],
)
async def test_of_its_fields_what_is_not_the_clients_stays_with_us(front: Front, interim: bytes) -> None:
    async with front.upstream(answering(interim + HI)), front.calling() as caller:
        await caller.send(get(b"/main/x"))
        hints, answered = await heads(caller)

        assert (hints.status, hints.fields) == (103, [(b"link", b"</a>")])
        assert answered.status == 200


async def test_a_100_that_nobody_asked_for_is_passed_on_once(front: Front) -> None:
    async with front.upstream(answering(CONTINUE * 3 + HI)):
        answered = await front.ask(get(b"/main/x"))

        assert (answered.status, answered.interims) == (200, [100])


async def test_a_100_that_was_answered_by_us_is_not_answered_again(front: Front) -> None:
    async with front.upstream(answering(CONTINUE + HINTS + HI)):
        answered = await front.ask(post(b"/main/x", b"hello", EXPECTING))

        assert (answered.status, answered.interims) == (200, [100, 103])


@pytest.mark.parametrize("interims", [CONTINUE, HINTS, CONTINUE + HINTS])
async def test_a_client_of_http_1_0_is_sent_none(front: Front, interims: bytes) -> None:
    async with front.upstream(answering(interims + HI)):
        answered = await front.ask(OLD)

        assert (answered.status, answered.interims, answered.body) == (200, [], b"hi")


async def test_a_request_is_not_sent_again_once_one_was_passed_on(front: Front) -> None:
    """A client that was told of the first try may have acted on it."""

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(HINTS)
        visit.close()

    async with front.upstream(script) as upstream:
        answered = await front.ask(get(b"/main/x"))

        assert (answered.status, answered.interims) == (502, [103])
        assert len(upstream.visits) == 1


async def test_an_interim_answer_does_not_stop_the_clock(front: Front) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(HINTS)
        await visit.until_left()

    async with front.upstream(script):
        answered = await front.ask(get(b"/impatient/x"))

        assert (answered.status, answered.interims, answered.problem["type"]) == (504, [103], "upstream-timeout")


async def test_a_client_that_leaves_between_two_answers_ends_the_exchange(front: Front) -> None:
    async with front.upstream(answering(HINTS)) as upstream, front.calling() as caller:
        await caller.send(get(b"/main/x"))
        await caller.head()
        caller.close()
        await eventually(upstream.visits[0].reader.at_eof)

        assert (await front.line())["reason"] == "client_gone"


async def test_hints_of_any_size_wait_for_a_client_that_does_not_read(front: Front) -> None:
    """Sixteen heads are 512 KB at most: they are held, and nothing more is read meanwhile."""
    large = b"HTTP/1.1 103 Early\r\nX-A: " + b"a" * 32_000 + b"\r\n\r\n"
    async with front.upstream(answering(large * 16 + HI)), front.calling() as caller:
        await caller.send(get(b"/main/x"))
        answered = await caller.answer()

        assert (answered.status, answered.interims, answered.body) == (200, [103] * 16, b"hi")


@pytest.mark.parametrize("front_gateway", ["uvloop-httptools"], indirect=True)
async def test_over_asgi_there_are_none(front: Front) -> None:
    """Its messages know a start and a body."""
    async with front.upstream(answering(CONTINUE + HINTS + OK + b"Content-Length: 2\r\n\r\nhi")):
        answered = await front.ask(get(b"/main/x"))

        assert (answered.status, answered.interims, answered.body) == (200, [], b"hi")
        assert answered.all(b"link") == []
