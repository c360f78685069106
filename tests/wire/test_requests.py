"""What an upstream receives: framed by us, whole or recognisably broken, with no identity but the verified one."""

import asyncio

import pytest

from tests.builders import a_token
from tests.wire.caller import LEAVES, Leave, get, post, post_chunks
from tests.wire.front import Front, both_mounts
from tests.wire.hostile import HI, OK, Visit, answering, eventually

pytestmark = both_mounts

LAST = b"0\r\n\r\n"


async def answer_to_chunks(visit: Visit) -> None:
    """Answer once the body's last chunk is there."""
    await visit.request()
    while not visit.received.endswith(LAST):
        visit.received += await visit.reader.read(65536)
    await visit.send(HI)
    await visit.until_left()


def unchunked(body: bytes) -> bytes:
    pieces = []
    while body != LAST:
        size, _, rest = body.partition(b"\r\n")
        pieces.append(rest[: int(size, 16)])
        body = rest[int(size, 16) + 2 :]
    return b"".join(pieces)


def head_of(visit: Visit) -> list[bytes]:
    return visit.received.partition(b"\r\n\r\n")[0].split(b"\r\n")


LENGTHS = {"empty": b"", "small": b"hello", "large": b"x" * 700_000}


@pytest.mark.parametrize("body", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("method", [b"POST", b"PUT", b"PATCH", b"GET", b"DELETE"])
async def test_a_body_with_a_length_arrives_with_that_length(front: Front, method: bytes, body: bytes) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        visit.received += await visit.reader.readexactly(len(body))
        await visit.send(HI)
        await visit.until_left()

    async with front.upstream(script) as upstream:
        answered = await front.ask(post(b"/main/x", body, method=method))
        await front.is_at_rest()

        visit = upstream.visits[0]
        assert answered.body == b"hi"
        assert [line for line in head_of(visit) if line.startswith((b"content-length", b"transfer"))] == [
            b"content-length: %d" % len(body)
        ]
        assert visit.received.endswith(b"\r\n\r\n" + body)
        assert (await front.line())["bytes_in"] == len(body)
        assert front.counts().idle == 1


CHUNKS = {"empty": (b"",), "two": (b"hello ", b"world", b""), "large": (b"x" * 70_000, b"y" * 300_000, b"")}


@pytest.mark.parametrize("pieces", CHUNKS.values(), ids=CHUNKS)
@pytest.mark.parametrize("method", [b"POST", b"GET"])
async def test_a_chunked_body_is_framed_anew(front: Front, method: bytes, pieces: tuple[bytes, ...]) -> None:
    async with front.upstream(answer_to_chunks) as upstream:
        answered = await front.ask(post_chunks(b"/main/x", *pieces, method=method))
        await front.is_at_rest()

        head, _, body = upstream.visits[0].received.partition(b"\r\n\r\n")
        assert answered.body == b"hi"
        assert head.count(b"transfer-encoding: chunked") == 1
        assert b"content-length" not in head
        assert unchunked(body) == b"".join(pieces)
        assert front.counts().idle == 1


async def test_chunk_extensions_end_with_us(front: Front) -> None:
    request = get(b"/main/x", b"Transfer-Encoding: chunked", method=b"POST") + b'2;a="b";c\r\nhi\r\n0;d=e\r\n\r\n'
    async with front.upstream(answer_to_chunks) as upstream:
        await front.ask(request)

        assert upstream.visits[0].received.endswith(b"\r\n\r\n2\r\nhi\r\n0\r\n\r\n")


async def test_a_request_without_a_body_says_so_by_having_no_framing(front: Front) -> None:
    async with front.upstream(answering(HI)) as upstream:
        await front.ask(get(b"/main/x"))

        assert not [line for line in head_of(upstream.visits[0]) if line.startswith((b"content-length", b"transfer"))]


async def test_a_client_that_expects_100_gets_it_and_the_upstream_never_hears_of_it(front: Front) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        visit.received += await visit.reader.readexactly(5)
        await visit.send(HI)
        await visit.until_left()

    async with front.upstream(script) as upstream, front.calling() as caller:
        await caller.send(get(b"/main/x", b"Content-Length: 5", b"Expect: 100-continue", method=b"POST"))
        interim = await caller.head()
        await caller.send(b"hello")
        answered = await caller.answer()

        assert interim.status == 100
        assert (answered.status, answered.body) == (200, b"hi")
        assert not [line for line in head_of(upstream.visits[0]) if line.startswith(b"expect")]


CUT = {
    "length": post(b"/main/x", b"hello" * 10)[:-20],
    "chunked": post_chunks(b"/main/x", b"hello", b"world"),
    "within a chunk": post_chunks(b"/main/x", b"hello", b"world")[:-4],
    "before the last chunk's end": post_chunks(b"/main/x", b"hello", b"world") + b"0\r\n",
    "no byte of it": get(b"/main/x", b"Content-Length: 5", method=b"POST"),
}


@pytest.mark.parametrize("request_bytes", CUT.values(), ids=CUT)
@pytest.mark.parametrize("leave", LEAVES.values(), ids=LEAVES)
async def test_a_cut_upload_is_never_presented_as_whole(front: Front, request_bytes: bytes, leave: Leave) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        is_there.set()
        await visit.until_left()
        is_left.set()

    is_there, is_left = asyncio.Event(), asyncio.Event()
    async with front.upstream(script) as upstream, front.calling() as caller:
        await caller.send(request_bytes)
        await asyncio.wait_for(is_there.wait(), 5)
        leave(caller)
        await asyncio.wait_for(is_left.wait(), 5)

        (visit,) = upstream.visits
        head, _, body = visit.received.partition(b"\r\n\r\n")
        assert LAST not in body
        assert b"content-length" not in head or len(body) < 50
        assert (await front.line())["reason"] == "client_gone"
        await front.is_at_rest()
        assert front.counts().open == 0


async def test_a_malformed_chunk_is_never_presented_as_whole(front: Front) -> None:
    async with front.upstream(answering()) as upstream, front.calling() as caller:
        await caller.send(post_chunks(b"/main/x", b"hello") + b"zz\r\n")
        answered = await caller.answer()

        await front.is_at_rest()
        assert answered.status == 400
        assert all(LAST not in visit.received for visit in upstream.visits)
        assert len(front.answered) == 1


async def test_a_declared_length_over_the_limit_reaches_no_upstream(front: Front) -> None:
    async with front.upstream(answering(HI)) as upstream, front.calling() as caller:
        await caller.send(get(b"/small/x", b"Content-Length: 1001", b"Expect: 100-continue", method=b"POST"))
        answered = await caller.answer()

        assert (answered.status, answered.interims) == (413, [])
        assert answered.problem["type"] == "body-too-large"
        assert upstream.visits == []
        assert (await front.line())["reason"] == "body_too_large"


async def test_a_chunked_body_over_the_limit_is_broken_off(front: Front) -> None:
    async def script(visit: Visit) -> None:
        await visit.until_left()
        is_left.set()

    is_left = asyncio.Event()
    async with front.upstream(script) as upstream, front.calling() as caller:
        await caller.send(post_chunks(b"/small/x", b"x" * 600))
        await eventually(lambda: bool(upstream.visits) and upstream.visits[0].received.endswith(b"x" * 600 + b"\r\n"))
        await caller.send(b"258\r\n" + b"y" * 600 + b"\r\n0\r\n\r\n")
        answered = await caller.answer()
        await asyncio.wait_for(is_left.wait(), 5)

        assert (answered.status, answered.problem["type"]) == (413, "body-too-large")
        assert LAST not in upstream.visits[0].received
        assert (await front.line())["reason"] == "body_too_large"


@pytest.mark.parametrize("body", [b"", b"x" * 1000], ids=["empty", "at the limit"])
async def test_a_chunked_body_within_the_limit_is_taken(front: Front, body: bytes) -> None:
    async with front.upstream(answer_to_chunks):
        answered = await front.ask(post_chunks(b"/small/x", *([body] if body else []), b""))

        assert answered.status == 200


@pytest.mark.parametrize("status", [401, 413, 200])
@pytest.mark.parametrize(
    "framing", [b"Content-Length: 1000000", b"Transfer-Encoding: chunked"], ids=["length", "chunked"]
)
async def test_an_answer_before_the_end_of_the_body_is_passed_on(front: Front, status: int, framing: bytes) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(b"HTTP/1.1 %d Early\r\nContent-Length: 2\r\n\r\nno" % status)
        await visit.until_left()
        is_left.set()

    is_left = asyncio.Event()
    async with front.upstream(script) as upstream, front.calling() as caller:
        await caller.send(get(b"/main/x", framing, method=b"POST"))
        answered = await caller.answer()
        await asyncio.wait_for(is_left.wait(), 5)

        assert (answered.status, answered.body, answered.is_whole) == (status, b"no", True)
        assert (await front.line())["reason"] == "proxied"
        assert LAST not in upstream.visits[0].received.partition(b"\r\n\r\n")[2]
        await front.is_at_rest()
        assert front.counts().open == 0


async def test_an_early_answer_is_streamed_while_the_client_still_sends(front: Front) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(OK + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(3):
            piece = await visit.reader.readuntil(b"\r\n")
            echoed = await visit.reader.readexactly(int(piece, 16) + 2)
            await visit.send(piece + echoed)
        visit.received += await visit.reader.readuntil(LAST)
        await visit.send(LAST)
        await visit.until_left()

    async with front.upstream(script), front.calling() as caller:
        await caller.send(get(b"/main/x", b"Transfer-Encoding: chunked", method=b"POST"))
        answered = await caller.head()
        for word in (b"one", b"two", b"three"):
            await caller.send(b"%x\r\n%b\r\n" % (len(word), word))
            assert await caller.chunk() == word
        await caller.send(LAST)

        assert answered.status == 200
        assert await caller.chunk() == b""
        await front.is_at_rest()
        assert front.counts().idle == 1


IDENTITIES = [
    b"X-User-Id: impostor", b"x-user-id: impostor", b"X_User_Id: impostor", b"X-User_Id: impostor",
    b"X-USER-ROLE: admin", b"x_user_role: admin", b"X-User-Anything: 1", b"X-User-Id:impostor",
    b"X-User-Id: 1\r\nX-User-Id: impostor",
]  # fmt: skip


@pytest.mark.parametrize("field", IDENTITIES)
async def test_a_client_cannot_say_who_it_is(front: Front, field: bytes) -> None:
    async with front.upstream(answering(HI)) as upstream:
        await front.ask(get(b"/main/x", field))

        assert not [
            line for line in head_of(upstream.visits[0]) if b"impostor" in line or b"x-user" in line.replace(b"_", b"-")
        ]


async def test_a_client_cannot_have_the_identity_removed(front: Front) -> None:
    token = b"Authorization: Bearer " + a_token(sub="7").encode()
    async with front.upstream(answering(HI)) as upstream:
        await front.ask(
            get(b"/mine/x", token, b"X-User-Id: impostor", b"Connection: X-User-Id, x-user-role, x-hop", b"X-Hop: 1")
        )

        lines = head_of(upstream.visits[0])
        assert [line for line in lines if b"user" in line] == [b"x-user-id: 7", b"x-user-role: user"]
        assert not [line for line in lines if line.startswith((b"x-hop", b"connection", b"authorization"))]


@pytest.mark.parametrize("reads", [1, 2], ids=["in one piece", "behind the body"])
async def test_trailers_reach_no_upstream_as_an_identity(front: Front, reads: int) -> None:
    head = get(b"/main/x", b"Transfer-Encoding: chunked", b"Trailer: X-User-Id", method=b"POST") + b"2\r\nhi\r\n"
    trailers = b"0\r\nX-User-Id: impostor\r\nX_User_Role: admin\r\n\r\n"
    async with front.upstream(answer_to_chunks) as upstream, front.calling() as caller:
        await caller.send(head + trailers if reads == 1 else head)
        if reads == 2:
            await eventually(lambda: bool(upstream.visits) and upstream.visits[0].received != b"")
            await caller.send(trailers)
        answered = await caller.answer()

        assert answered.status == 200
        (visit,) = upstream.visits
        assert b"impostor" not in visit.received
        assert b"user" not in visit.received
        assert visit.received.endswith(b"\r\n\r\n2\r\nhi\r\n0\r\n\r\n")


PATHS = [
    b"/main/a%20b", b"/main/caf%C3%A9", b"/main/a%2Cb", b"/main/a;v=1", b"/main/~x/!$&'()*+,=:@", b"/main/x/",
    b"/main/x?a=%2F..%2f&b=%zz", b"/main/x?a=b?c=/../", b"/main/%25", b"/main/a%3Fb",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
async def test_the_path_that_was_authorised_is_the_path_that_is_sent(front: Front, path: bytes) -> None:
    async with front.upstream(answering(HI)) as upstream:
        answered = await front.ask(get(path))

        assert answered.status == 200
        assert head_of(upstream.visits[0])[0] == b"GET %b HTTP/1.1" % path


@pytest.mark.parametrize("framing", [b"Content-Length: 5", b"Transfer-Encoding: chunked"], ids=["length", "chunked"])
async def test_an_upgrade_with_a_body_is_refused(front: Front, framing: bytes) -> None:
    body = b"hello" if b"Length" in framing else b"5\r\nhello\r\n0\r\n\r\n"
    async with front.upstream(answering(HI)) as upstream:
        answered = await front.ask(
            get(b"/main/x", framing, b"Connection: Upgrade", b"Upgrade: h2c", method=b"POST") + body
        )

        assert (answered.status, answered.problem["type"]) == (400, "head-malformed")
        assert upstream.visits == []


FRAMINGS = {
    "gzip, chunked": (b"Transfer-Encoding: gzip, chunked",),
    "identity, chunked": (b"Transfer-Encoding: identity, chunked",),
    "chunked twice": (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
    "length and chunked": (b"Content-Length: 3", b"Transfer-Encoding: chunked"),
    "two lengths": (b"Content-Length: 3", b"Content-Length: 4"),
}


@pytest.mark.parametrize("framing", FRAMINGS.values(), ids=FRAMINGS)
async def test_ambiguous_framing_is_refused(front: Front, framing: tuple[bytes, ...]) -> None:
    async with front.upstream(answering(HI)) as upstream:
        answered = await front.ask(get(b"/main/x", *framing, method=b"POST") + b"3\r\nabc\r\n0\r\n\r\n")

        assert answered.status in {400, 501}
        assert upstream.visits == []


async def test_an_upgrade_nobody_offers_is_an_ordinary_request(front: Front) -> None:
    async with front.upstream(answering(HI)) as upstream:
        answered = await front.ask(
            get(b"/main/x", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQ")
        )

        assert answered.body == b"hi"
        lines = head_of(upstream.visits[0])
        assert not [line for line in lines if line.startswith((b"upgrade", b"connection", b"http2-settings"))]
