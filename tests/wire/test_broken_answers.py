"""What a client sees of an answer that is cut, garbled or overdone: never a whole message, never a stranger's byte."""

import asyncio
import json
from collections.abc import Callable

import pytest

from tests.wire.caller import get
from tests.wire.front import Front, both_mounts
from tests.wire.hostile import HI, OK, Visit, answering, answering_then_closing, eventually

pytestmark = both_mounts

CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
SECRET = b"upstream-secret"

CUT = {
    "length": OK + b"Content-Length: 9\r\n\r\nhalf",
    "chunked": CHUNKED + b"4\r\nhalf\r\n",
    "within a chunk": CHUNKED + b"9\r\nhalf",
    "before the last chunk's end": CHUNKED + b"4\r\nhalf\r\n0\r\n",
}


@pytest.mark.parametrize("answer", CUT.values(), ids=CUT)
@pytest.mark.parametrize("leave", [Visit.close, Visit.reset], ids=["fin", "rst"])
async def test_a_cut_answer_is_never_presented_as_whole(
    front: Front, answer: bytes, leave: Callable[[Visit], None]
) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(answer)
        await asyncio.wait_for(is_read.wait(), 5)
        leave(visit)

    is_read = asyncio.Event()
    async with front.upstream(script) as upstream, front.calling() as caller:
        await caller.send(get(b"/main/x"))
        await eventually(lambda: bool(upstream.visits) and upstream.visits[0].sent_bytes == len(answer))
        is_read.set()
        answered = await caller.answer()

        assert (answered.status, answered.is_whole) == (200, False)
        assert b"half".startswith(answered.body)
        assert await caller.is_cut()
        line = await front.line()
        assert (line["status"], line["reason"], line["phase"]) == (200, "upstream_broken", "body")


@pytest.mark.parametrize("head", [OK + b"\r\nhalf", CHUNKED + b"4\r\nhalf\r\n"], ids=["close", "chunked"])
async def test_an_answer_that_goes_wrong_after_its_first_bytes_is_not_whole(front: Front, head: bytes) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(head)
        await asyncio.wait_for(is_read.wait(), 5)
        if b"chunked" in head:
            await visit.send(b"zz\r\n")
        else:
            visit.reset()

    is_read = asyncio.Event()
    async with front.upstream(script), front.calling() as caller:
        await caller.send(get(b"/main/x"))
        answered = await caller.head()
        assert await caller.chunk() == b"half"
        is_read.set()

        assert answered.status == 200
        assert await caller.is_cut()
        assert (await front.line())["reason"] == "upstream_broken"


MALFORMED = {
    "no http": SECRET + b"\r\n\r\n",
    "http/2": b"HTTP/2 200 " + SECRET + b"\r\n\r\n",
    "status of two digits": b"HTTP/1.1 20 " + SECRET + b"\r\n\r\n",
    "status of 600": b"HTTP/1.1 600 " + SECRET + b"\r\nContent-Length: 0\r\n\r\n",
    "two lengths": OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n" + SECRET,
    "length and chunked": OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n" + SECRET,
    "gzip, chunked": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + SECRET,
    "negative length": OK + b"Content-Length: -2\r\n\r\n" + SECRET,
    "nul in a value": OK + b"X-A: a\0" + SECRET + b"\r\nContent-Length: 0\r\n\r\n",
    "control byte in a value": OK + b"X-A: a\x01" + SECRET + b"\r\nContent-Length: 0\r\n\r\n",
    "delete in a value": OK + b"X-A: a\x7f" + SECRET + b"\r\nContent-Length: 0\r\n\r\n",
    "bare cr in a value": OK + b"X-A: a\rX-B: " + SECRET + b"\r\nContent-Length: 0\r\n\r\n",
    "space in a name": OK + b"X A: " + SECRET + b"\r\nContent-Length: 0\r\n\r\n",
    "folded line": OK + b"X-A: a\r\n " + SECRET + b"\r\nContent-Length: 0\r\n\r\n",
    "switching protocols": b"HTTP/1.1 101 Sure\r\nUpgrade: x\r\nConnection: upgrade\r\nX-A: " + SECRET + b"\r\n\r\n",
    "head without end": OK + b"X-A: " + SECRET + b"\r\n",
    "head too large": OK + b"X-A: " + SECRET * 4000 + b"\r\n\r\n",
    "too many fields": OK + b"X-A: upstream-secret\r\n" * 101 + b"Content-Length: 0\r\n\r\n",
    "interims without end": b"HTTP/1.1 100 Continue\r\n\r\n" * 40,
    "nothing": b"",
}


@pytest.mark.parametrize("answer", MALFORMED.values(), ids=MALFORMED)
async def test_a_malformed_answer_becomes_a_502_without_a_word_of_the_upstream(front: Front, answer: bytes) -> None:
    async with front.upstream(answering_then_closing(answer)) as upstream:
        answered = await front.ask(get(b"/unretried/x"))

        assert (answered.status, answered.is_whole) == (502, True)
        assert answered.problem["type"] == "upstream-broken"
        assert SECRET not in answered.body + json.dumps([str(field) for field in answered.fields]).encode()
        assert str(upstream.port).encode() not in answered.body
        line = await front.line()
        assert (line["status"], line["reason"], line["upstream"]) == (502, "upstream_broken", "unretried")


LEFT_OVER = {
    "another answer": HI + OK + b"Content-Length: 6\r\n\r\npoison",
    "bytes beyond the length": HI + b"poison",
    "bytes beyond the last chunk": CHUNKED + b"2\r\nhi\r\n0\r\n\r\npoison",
    "a body for HEAD's sake": b"HTTP/1.1 204 No Content\r\n\r\npoison",
    "a body of a 304": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\npoison",
}


@pytest.mark.parametrize("answer", LEFT_OVER.values(), ids=LEFT_OVER)
async def test_bytes_left_over_reach_nobody(front: Front, answer: bytes) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(answer if visit.number == 0 else HI)
        await visit.until_left()

    async with front.upstream(script) as upstream, front.calling() as caller:
        await caller.send(get(b"/main/first"))
        first = await caller.answer()
        await caller.send(get(b"/main/second"))
        second = await caller.answer()

        assert b"poison" not in first.body + second.body
        assert (second.status, second.body) == (200, b"hi")
        assert len(upstream.visits) == 2


async def test_bytes_pushed_on_an_idle_connection_reach_nobody(front: Front) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(HI)
        if visit.number == 0:
            await asyncio.wait_for(is_idle.wait(), 5)
            await visit.send(OK + b"Content-Length: 6\r\n\r\npoison")
            is_pushed.set()
        await visit.until_left()

    is_idle, is_pushed = asyncio.Event(), asyncio.Event()
    async with front.upstream(script) as upstream:
        await front.ask(get(b"/main/first"))
        is_idle.set()
        await asyncio.wait_for(is_pushed.wait(), 5)
        answered = await front.ask(get(b"/main/second"))

        assert answered.body == b"hi"
        assert len(upstream.visits) == 2


async def test_an_answer_to_head_with_a_body_poisons_nobody(front: Front) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(OK + b"Content-Length: 6\r\n\r\npoison" if visit.number == 0 else HI)
        await visit.until_left()

    async with front.upstream(script):
        head = await front.ask(get(b"/main/x", method=b"HEAD"))
        answered = await front.ask(get(b"/main/x"))

        assert (head.status, head.body) == (200, b"")
        assert answered.body == b"hi"


async def test_the_connection_of_an_unfinished_answer_is_never_reused(front: Front) -> None:
    async with front.upstream(answering(OK + b"Content-Length: 9\r\n\r\nhalf", HI)) as upstream:
        async with front.calling() as caller:
            await caller.send(get(b"/main/x"))
            await caller.head()
        await front.is_at_rest()

        assert front.counts().open == 0
        await eventually(
            lambda: upstream.visits[0].reader.at_eof() or upstream.visits[0].reader.exception() is not None
        )
