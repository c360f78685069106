"""An answer cut at each of its bytes, and answers whose framing lies: whole and right, a 502, or visibly broken."""

import asyncio
from asyncio import IncompleteReadError
from collections.abc import Callable

import pytest

from tests.wire.caller import Answered, Caller, get, post
from tests.wire.front import Front, both_mounts
from tests.wire.hostile import HI, OK, Visit

CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
SECRET = b"upstream-secret"
LEAVES: dict[str, Callable[[Visit], None]] = {"fin": Visit.close, "rst": Visit.reset}

ANSWERS = {
    "length": (OK + b"Content-Length: 9\r\n\r\nall of it", b"all of it"),
    "nothing": (OK + b"Content-Length: 0\r\n\r\n", b""),
    "chunked": (CHUNKED + b"3\r\nall\r\n6\r\n of it\r\n0\r\n\r\n", b"all of it"),
    "chunked with extensions and trailers": (CHUNKED + b"9;a=b\r\nall of it\r\n0;c\r\nX-A: 1\r\n\r\n", b"all of it"),
    "behind an interim answer": (b"HTTP/1.1 103 Early\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nhi", b"hi"),
}


@both_mounts
@pytest.mark.parametrize("leave", LEAVES.values(), ids=LEAVES)
@pytest.mark.parametrize(("answer", "body"), ANSWERS.values(), ids=ANSWERS)
async def test_an_answer_that_is_cut_at_any_byte_is_never_taken_for_whole(
    front: Front, answer: bytes, body: bytes, leave: Callable[[Visit], None]
) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(answer[: visit.number])
        leave(visit)

    async with front.upstream(script) as upstream:
        seen = [await heard(front, get(b"/unretried/x")) for _ in range(len(answer))]

        assert len(upstream.visits) == len(answer)
        assert {one.status for one in seen} <= {200, 502}
        assert all(one.is_whole is (one.status == 502) for one in seen)
        assert all(body.startswith(one.body) for one in seen if one.status == 200)


async def heard(front: Front, request: bytes) -> Answered:
    """Ask; an answer that breaks within its head counts as a broken one."""
    try:
        return await front.ask(request)
    except (IncompleteReadError, ConnectionError):
        return Answered(200, b"", [])


@both_mounts
async def test_an_answer_that_ends_with_its_connection_is_broken_off_at_any_byte(front: Front) -> None:
    await breaks_off(front, b"HTTP/1.1")


# uvicorn's other parser, h11, ends such a connection in good order, and no application can have it do otherwise
@pytest.mark.parametrize("front_gateway", ["portico", "uvloop-httptools"], indirect=True)
async def test_for_http_1_0_it_is_cut_by_a_reset_at_any_byte(front: Front) -> None:
    await breaks_off(front, b"HTTP/1.0")


async def breaks_off(front: Front, http: bytes) -> None:
    answer = OK + b"\r\nall of it"

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(answer[: visit.number])
        await asyncio.wait_for(is_read.wait(), 5)
        visit.reset()

    is_read = asyncio.Event()
    is_read.set()
    async with front.upstream(script):
        seen = [
            await heard(front, get(b"/unretried/x", b"Connection: close").replace(b"HTTP/1.1", http))
            for _ in range(len(answer) + 1)
        ]

        assert {one.status for one in seen} <= {200, 502}
        assert all(one.is_whole is (one.status == 502) for one in seen)


async def test_an_old_client_sees_a_reset_where_only_the_end_tells_the_end(front: Front) -> None:
    """HTTP/1.0 knows no chunks: an orderly end would be taken for the end of the answer (promise P2)."""

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(CHUNKED + b"4\r\nhalf\r\n")
        await asyncio.wait_for(is_read.wait(), 5)

    is_read = asyncio.Event()
    async with front.upstream(script), front.calling() as caller:
        await caller.send(get(b"/main/x").replace(b"HTTP/1.1", b"HTTP/1.0"))
        answered = await caller.head()
        async with asyncio.timeout(5):
            half = await caller.reader.readexactly(4)
            is_read.set()

            assert (answered.all(b"connection"), half) == ([b"close"], b"half")
            with pytest.raises(ConnectionResetError):
                await caller.reader.read()


LYING = {
    "9112 6.3 +9": OK + b"Content-Length: +9\r\n\r\n" + SECRET,
    "9112 6.3 list of lengths": OK + b"Content-Length: 9, 9\r\n\r\n" + SECRET,
    "9112 6.3 two equal lengths": OK + b"Content-Length: 9\r\nContent-Length: 9\r\n\r\n" + SECRET,
    "9112 6.3 0x9": OK + b"Content-Length: 0x9\r\n\r\n" + SECRET,
    "9112 6.3 9 9": OK + b"Content-Length: 9 9\r\n\r\n" + SECRET,
    "9112 6.3 empty length": OK + b"Content-Length:\r\n\r\n" + SECRET,
    "9112 6.3 length of 2**64": OK + b"Content-Length: 18446744073709551616\r\n\r\n" + SECRET,
    "9112 6.3 length and chunked": OK + b"Content-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n" + SECRET,
    "9112 6.3 chunked and length": CHUNKED[:-2] + b"Content-Length: 9\r\n\r\n9\r\n" + SECRET,
    "9112 6.3 chunked, not last": OK + b"Transfer-Encoding: chunked, gzip\r\n\r\n9\r\n" + SECRET,
    "9112 6.3 unknown encoding": OK + b"Transfer-Encoding: cow\r\n\r\n" + SECRET,
    "9112 6.1 chunked twice": CHUNKED[:-2] + b"Transfer-Encoding: chunked\r\n\r\n9\r\n" + SECRET,
    "9112 6.1 Transfer-Encoding in HTTP/1.0": CHUNKED.replace(b"1.1", b"1.0") + b"9\r\n" + SECRET,
    "9112 5.1 space before a colon": OK + b"Content-Length : 9\r\n\r\n" + SECRET,
    "9112 5.2 folded length": OK + b"Content-Length:\r\n 9\r\n\r\n" + SECRET,
    "9112 2.2 bare LF": OK + b"X-A: 1\nContent-Length: 9\r\n\r\n" + SECRET,
    "9112 2.2 bare LF as the empty line": OK + b"Content-Length: 9\r\n\n" + SECRET + b"\r\n\r\n",
    "9112 2.3 HTTP/1.2": b"HTTP/1.2 200 OK\r\nContent-Length: 9\r\n\r\n" + SECRET,
    "9112 4 no status": b"HTTP/1.1\r\nContent-Length: 9\r\n\r\n" + SECRET,
    "9112 4 status of four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 9\r\n\r\n" + SECRET,
    "9112 4 status with a sign": b"HTTP/1.1 +20 OK\r\nContent-Length: 9\r\n\r\n" + SECRET,
    "9110 7.8 upgrade nobody asked for": b"HTTP/1.1 101 Sure\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n" + SECRET,
    "9110 7.8 upgrade without a word": b"HTTP/1.1 101 Sure\r\n\r\n" + SECRET,
    "9110 15.2 interims without end": b"HTTP/1.1 102 Wait\r\n\r\n" * 100 + HI,
}


@both_mounts
@pytest.mark.parametrize("request_bytes", [get(b"/unretried/x"), post(b"/unretried/x", b"hello")], ids=["get", "post"])
@pytest.mark.parametrize("answer", LYING.values(), ids=LYING)
async def test_an_answer_whose_head_is_faulty_is_a_502_and_the_next_one_is_right(
    front: Front, answer: bytes, request_bytes: bytes
) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(answer if visit.number == 0 else HI)
        await visit.until_left()

    async with front.upstream(script) as upstream, front.calling() as caller:
        await caller.send(request_bytes)
        first = await caller.answer()
        await caller.send(get(b"/unretried/x"))
        second = await caller.answer()

        assert (first.status, first.is_whole) == (502, True)
        assert SECRET not in first.body
        assert (second.status, second.body) == (200, b"hi")
        assert len(upstream.visits) == 2


BAD_CHUNKS = {
    "bare LF behind a size": b"3\nabc\r\n0\r\n\r\n",
    "bare LF behind a chunk": b"3\r\nabc\n0\r\n\r\n",
    "bare LF at the end": b"3\r\nabc\r\n0\r\n\n",
    "+3": b"+3\r\nabc\r\n0\r\n\r\n",
    "0x3": b"0x3\r\nabc\r\n0\r\n\r\n",
    "space behind a size": b"3 \r\nabc\r\n0\r\n\r\n",
    "no size": b"\r\nabc\r\n0\r\n\r\n",
    "longer than its size": b"3\r\nabcd\r\n0\r\n\r\n",
    "size of 2**64 + 3": b"10000000000000003\r\nabc\r\n0\r\n\r\n",
    "LF in an extension": b"3;a\nb\r\nabc\r\n0\r\n\r\n",
    "extension without end": b"3;" + b"a" * 40_000,
    "trailers without end": b"3\r\nabc\r\n0\r\n" + b"X-A: 1\r\n" * 5000,
}


@both_mounts
@pytest.mark.parametrize("is_begun", [False, True], ids=["at once", "behind a chunk"])
@pytest.mark.parametrize("body", BAD_CHUNKS.values(), ids=BAD_CHUNKS)
async def test_an_answer_whose_chunks_are_faulty_is_never_taken_for_whole(
    front: Front,
    body: bytes,
    is_begun: bool,  # noqa: FBT001 - a column of the table
) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        if is_begun:
            await visit.send(CHUNKED + b"2\r\nhi\r\n")
            await asyncio.wait_for(is_read.wait(), 5)
            await visit.send(body)
        else:
            await visit.send(CHUNKED + body)
        await visit.until_left()

    is_read = asyncio.Event()
    async with front.upstream(script), front.calling() as caller:
        await caller.send(get(b"/unretried/x"))
        if is_begun:
            answered = await caller.head()
            assert await caller.chunk() == b"hi"
            is_read.set()
            with pytest.raises((IncompleteReadError, ConnectionError)):
                await read_chunks(caller)
        else:
            answered = await caller.answer()

        assert answered.status in {200, 502}
        assert answered.is_whole is (answered.status == 502)


async def read_chunks(caller: Caller) -> None:
    while await caller.chunk():
        pass
