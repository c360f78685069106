"""Every framing of an answer, through the whole gateway, on each server it is said to run on."""

import gzip

import pytest

from tests.wire.caller import get
from tests.wire.front import Front, both_mounts
from tests.wire.hostile import OK, Visit, answering, answering_then_closing

pytestmark = both_mounts

CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
NOTHING = b"Content-Length: 0\r\n\r\n"

ANSWERS = {
    "length": (b"GET", OK + b"Content-Length: 2\r\n\r\nhi", 200, b"hi"),
    "empty": (b"GET", OK + NOTHING, 200, b""),
    "chunked": (b"GET", CHUNKED + b"1\r\nh\r\n1\r\ni\r\n0\r\n\r\n", 200, b"hi"),
    "empty chunked": (b"GET", CHUNKED + b"0\r\n\r\n", 200, b""),
    "extensions and trailers": (b"GET", CHUNKED + b'2;a="b"\r\nhi\r\n0;z\r\nX-After: 1\r\n\r\n', 200, b"hi"),
    "head with a length": (b"HEAD", OK + b"Content-Length: 9\r\n\r\n", 200, b""),
    "head chunked": (b"HEAD", CHUNKED, 200, b""),
    "204": (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    "204 with a length": (b"GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", 204, b""),
    "304 with a length": (b"GET", b"HTTP/1.1 304 Not Modified\r\nETag: 1\r\nContent-Length: 9\r\n\r\n", 304, b""),
    "205": (b"GET", b"HTTP/1.1 205 Reset Content\r\n" + NOTHING, 205, b""),
    "100 before": (b"GET", b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nhi", 200, b"hi"),
    "103 before": (
        b"GET",
        b"HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nhi",
        200,
        b"hi",
    ),
    "201": (b"GET", b"HTTP/1.1 201 Created\r\nLocation: /a\r\n" + NOTHING, 201, b""),
    "no reason": (b"GET", b"HTTP/1.1 200 \r\n" + NOTHING, 200, b""),
}


@pytest.mark.parametrize(("method", "answer", "status", "body"), ANSWERS.values(), ids=ANSWERS)
async def test_a_whole_answer_reaches_the_client_whole_and_its_connection_is_kept(
    front: Front, method: bytes, answer: bytes, status: int, body: bytes
) -> None:
    async with front.upstream(answering(answer, answer)) as upstream, front.calling() as caller:
        for _ in range(2):
            await caller.send(get(b"/main/x", method=method))
            answered = await caller.answer(method)

            assert (answered.status, answered.body, answered.is_whole) == (status, body, True)

        assert len(upstream.visits) == 1
        await front.is_at_rest()
        assert [line["reason"] for line in front.answered] == ["proxied", "proxied"]
        assert {line["status"] for line in front.answered} == {status}
        assert front.counts().idle == 1


async def test_a_close_delimited_answer_ends_with_its_connection(front: Front) -> None:
    async with front.upstream(answering_then_closing(OK + b"\r\nhi")) as upstream:
        answered = await front.ask(get(b"/main/x"))
        again = await front.ask(get(b"/main/x"))

        assert (answered.body, answered.is_whole) == (b"hi", True)
        assert again.body == b"hi"
        assert len(upstream.visits) == 2


@pytest.mark.parametrize("status", [201, 226, 299, 300, 306, 402, 418, 421, 499, 508, 510, 599])
async def test_a_status_is_passed_on_as_it_is(front: Front, status: int) -> None:
    async with front.upstream(answering(b"HTTP/1.1 %d Odd\r\n" % status + NOTHING)):
        answered = await front.ask(get(b"/main/x"))

        assert (answered.status, answered.is_whole) == (status, True)


async def test_the_length_a_head_answer_declares_is_kept(front: Front) -> None:
    async with front.upstream(answering(OK + b"Content-Length: 12345\r\n\r\n")):
        answered = await front.ask(get(b"/main/x", method=b"HEAD"))

        assert answered.first(b"content-length") == b"12345"
        assert answered.all(b"transfer-encoding") == []


async def test_fields_keep_their_order_their_duplicates_and_their_bytes(front: Front) -> None:
    fields = [b"Set-Cookie: a=1; Path=/", b"X-One: 1", b"Set-Cookie: b=2", b"Vary: Accept", b"X-Name: caf\xc3\xa9 \xe9"]
    async with front.upstream(answering(OK + b"\r\n".join(fields) + b"\r\n" + NOTHING)):
        answered = await front.ask(get(b"/main/x"))

        assert answered.all(b"set-cookie") == [b"a=1; Path=/", b"b=2"]
        assert answered.all(b"x-name") == [b"caf\xc3\xa9 \xe9"]
        names = [name for name, _ in answered.fields if name in {b"set-cookie", b"x-one"}]
        assert names == [b"set-cookie", b"x-one", b"set-cookie"]
        assert answered.first(b"vary") == b"Accept"


async def test_a_compressed_body_is_passed_on_unchanged(front: Front) -> None:
    body = gzip.compress(b"word " * 50_000)
    head = OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with front.upstream(answering(head + body)):
        answered = await front.ask(get(b"/main/x", b"Accept-Encoding: gzip"))

        assert answered.first(b"content-encoding") == b"gzip"
        assert answered.body == body


async def test_hop_by_hop_fields_and_what_names_the_upstream_stay_with_us(front: Front) -> None:
    fields = (
        b"Connection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nServer: s\r\nX-Powered-By: p\r\nUpgrade: h2c\r\n"
    )
    async with front.upstream(answering(OK + fields + NOTHING)):
        answered = await front.ask(get(b"/main/x"))

        names = {name for name, _ in answered.fields}
        assert names == {b"content-length", b"date", b"x-request-id", b"vary"}


async def test_of_a_limit_speaks_who_has_one(front: Front) -> None:
    theirs = OK + b'RateLimit: "theirs";r=1\r\nRateLimit-Policy: "theirs";q=1\r\nX-A: 1\r\n' + NOTHING
    async with front.upstream(answering(*[theirs] * 4)), front.calling() as caller:
        for path, policy in ((b"/main/x", b'"theirs";q=1'), (b"/limited/x", b'"default";q=1000000;w=86400')) * 2:
            await caller.send(get(path))
            answered = await caller.answer()

            assert answered.all(b"ratelimit-policy") == [policy]
            assert len(answered.all(b"ratelimit")) == len(answered.all(b"x-a")) == 1


async def test_every_size_of_piece_arrives_in_order(front: Front) -> None:
    pieces = [bytes([65 + number % 26]) * (number * 7919 % 200_000 + 1) for number in range(30)]

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(CHUNKED)
        for piece in pieces:
            await visit.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        await visit.send(b"0\r\n\r\n")
        await visit.until_left()

    async with front.upstream(script):
        answered = await front.ask(get(b"/main/x"))

        assert answered.body == b"".join(pieces)
        assert (await front.line())["bytes_out"] == len(answered.body)
