"""Rule by rule, what must be refused or closed: the section of the RFC stands before each case.

Behind every case stands a second request in the same bytes. What the client is told of both must be what the upstream
counted: nobody may find one request more, or one less, than the other did.
"""

import asyncio
from asyncio import IncompleteReadError
from dataclasses import dataclass, field

import pytest

from tests.wire.caller import Answered, get, post, post_chunks
from tests.wire.counting import Counting
from tests.wire.front import Front

HASTE = {"head_s": 0.3, "keep_alive_s": 0.3, "body_idle_s": 0.3, "farewell_s": 0.1}
PATIENCE_S = 5
SECOND = get(b"/main/second", b"Connection: close")
SMUGGLED = get(b"/admin/smuggled")
LAST = b"0\r\n\r\n"


@dataclass(slots=True)
class Told:
    """What a client was told on one connection, and what the upstream counted meanwhile."""

    answers: list[Answered] = field(default_factory=list)
    counting: Counting = field(default_factory=Counting)

    @property
    def statuses(self) -> list[int]:
        return [answered.status for answered in self.answers]

    @property
    def paths(self) -> list[bytes]:
        return [one.line.split(b" ")[1] for one in self.counting.requests]


async def told(front: Front, whole: bytes) -> Told:
    """Say it all in one write, and listen to the end of the connection, which comes soon, whatever it waits for."""
    heard = Told()
    with front.patience(**HASTE):
        async with front.upstream(heard.counting), front.calling() as caller:
            await caller.send(whole)
            method = b"HEAD" if whole.startswith(b"HEAD") else b"GET"
            try:
                async with asyncio.timeout(PATIENCE_S):
                    while True:
                        heard.answers.append(await caller.answer(method))
            except (IncompleteReadError, ConnectionError):
                pass
            await front.is_at_rest()
    assert not heard.counting.flaws
    assert heard.statuses.count(200) == len(heard.counting.requests)
    assert all(answered.is_whole for answered in heard.answers)
    return heard


def head(*lines: bytes, line: bytes = b"GET /main/x HTTP/1.1") -> bytes:
    return b"\r\n".join((line, b"Host: front", *lines, b"", b""))


def framed(*lines: bytes, body: bytes = b"3\r\nabc\r\n0\r\n\r\n") -> bytes:
    return head(*lines, line=b"POST /main/x HTTP/1.1") + body


def chunked(body: bytes) -> bytes:
    return framed(b"Transfer-Encoding: chunked", body=body)


REFUSED = {
    # the message (RFC 9112 §2)
    "9112 2.2 bare LF behind the request line": b"GET /main/x HTTP/1.1\nHost: front\r\n\r\n",
    "9112 2.2 bare LF behind a field": b"GET /main/x HTTP/1.1\r\nHost: front\nX-A: 1\r\n\r\n",
    "9112 2.2 bare LF as the empty line": b"GET /main/x HTTP/1.1\r\nHost: front\r\n\n" + SMUGGLED,
    "9112 2.2 bare LF twice": b"GET /main/x HTTP/1.1\r\nHost: front\n\n" + SMUGGLED,
    "9112 2.2 bare CR in a value": head(b"X-A: a\rb"),
    "9112 2.2 bare CR before a field": head(b"X-A: a\rX-User-Id: 1"),
    "9112 2.2 bare CR as the empty line": head(b"X-A: a\r\r"),
    "9112 2.2 bare CR in the request line": head(line=b"GET /main/x\r HTTP/1.1"),
    "9112 2.2 bare CR in a name": head(b"X-\rA: 1"),
    "9112 2.2 space before the first field": b"GET /main/x HTTP/1.1\r\n Host: front\r\n\r\n",
    "9112 2.2 space line before the first field": b"GET /main/x HTTP/1.1\r\n \r\nHost: front\r\n\r\n",
    "9112 2.2 two empty lines before": b"\r\n\r\n" + head(),
    "9112 2.2 bare LF before": b"\n" + head(),
    "9112 2.2 CR CR LF": b"GET /main/x HTTP/1.1\r\r\nHost: front\r\r\n\r\r\n",
    "9112 2.2 LF CR": b"GET /main/x HTTP/1.1\n\rHost: front\n\r\n\r",
    "9112 2.2 bare CR at the end of a value": head(b"X-A: a\r"),
    "9112 2.2 not HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 40 + b"\r\n\r\n",
    "9112 2.3 HTTP/1.2": head(line=b"GET /main/x HTTP/1.2"),
    "9112 2.3 HTTP/2.0": head(line=b"GET /main/x HTTP/2.0"),
    "9112 2.3 HTTP/0.9": head(line=b"GET /main/x HTTP/0.9"),
    "9112 2.3 no version": b"GET /main/x\r\nHost: front\r\n\r\n",
    "9112 2.3 version of two digits": head(line=b"GET /main/x HTTP/1.10"),
    "9112 2.3 version with zeros": head(line=b"GET /main/x HTTP/01.1"),
    "9112 2.3 version in small letters": head(line=b"GET /main/x http/1.1"),
    "9112 2.3 HTTP/2 by prior knowledge": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "9112 2.3 another protocol": head(line=b"DESCRIBE /main/x RTSP/1.0"),
    # the request line (RFC 9112 §3)
    "9112 3 two spaces behind the method": head(line=b"GET  /main/x HTTP/1.1"),
    "9112 3 two spaces behind the target": head(line=b"GET /main/x  HTTP/1.1"),
    "9112 3 tab behind the method": head(line=b"GET\t/main/x HTTP/1.1"),
    "9112 3 space before the method": b" " + head(),
    "9112 3 space behind the version": head(line=b"GET /main/x HTTP/1.1 "),
    "9112 3 space in the target": head(line=b"GET /main/x y HTTP/1.1"),
    "9112 3 a whole request in the target": head(line=b"GET /main/x HTTP/1.1 /y HTTP/1.1"),
    "9112 3.2 target without a slash": head(line=b"GET main/x HTTP/1.1"),
    "9112 3.2 target of a query": head(line=b"GET ?x HTTP/1.1"),
    "9112 3.2 target of a host": head(line=b"GET front HTTP/1.1"),
    "9112 3.2 target of a user": head(line=b"GET @front/main/x HTTP/1.1"),
    "9112 3 tab in the query": head(line=b"GET /main/x?a\tb HTTP/1.1"),
    "9112 3 no target": head(line=b"GET HTTP/1.1"),
    "9112 3 NUL in the target": head(line=b"GET /main/\0 HTTP/1.1"),
    "9112 3 form feed in the request line": head(line=b"GET\x0c/main/x HTTP/1.1"),
    "9112 3 bytes beyond ASCII in the target": head(line=b"GET /main/\xe9 HTTP/1.1"),
    "9112 3.1 method in small letters": head(line=b"get /main/x HTTP/1.1"),
    "9112 3.1 method with a letter in small": head(line=b"GeT /main/x HTTP/1.1"),
    "9112 3.1 unknown method": head(line=b"BREW /main/x HTTP/1.1"),
    "9112 3.1 method with a NUL": head(line=b"GET\0 /main/x HTTP/1.1"),
    "9112 3.1 quoted method": head(line=b'"GET" /main/x HTTP/1.1'),
    "9112 3.2 no Host": b"GET /main/x HTTP/1.1\r\nX-A: 1\r\n\r\n",
    "9112 3.2 no Host in HTTP/1.0": b"GET /main/x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "9112 3.2 two Hosts": head(b"Host: front"),
    "9112 3.2 another Host": head(b"host: other"),
    "9112 3.2 empty Host": b"GET /main/x HTTP/1.1\r\nHost:\r\n\r\n",
    "9112 3.2 Host with a path": b"GET /main/x HTTP/1.1\r\nHost: front/x\r\n\r\n",
    "9112 3.2 Host with a user": b"GET /main/x HTTP/1.1\r\nHost: user@front\r\n\r\n",
    "9112 3.2 Host list": b"GET /main/x HTTP/1.1\r\nHost: front, other\r\n\r\n",
    # the fields (RFC 9112 §5, RFC 9110 §5)
    "9112 5 no colon": head(b"X-A"),
    "9112 5 no name": head(b": 1"),
    "9112 5.1 space before the colon": head(b"X-A : 1"),
    "9112 5.1 tab before the colon": head(b"X-A\t: 1"),
    "9112 5.1 space before the colon of a length": framed(b"Content-Length : 3"),
    "9112 5.1 space before the colon of an encoding": framed(b"Transfer-Encoding : chunked"),
    "9112 5.1 space within a name": head(b"X A: 1"),
    "9112 5.2 folded line": head(b"X-A: a\r\n b"),
    "9112 5.2 folded by a tab": head(b"X-A: a\r\n\tb"),
    "9112 5.2 folded length": framed(b"Content-Length:\r\n 3"),
    "9112 5.2 folded encoding": framed(b"Transfer-Encoding:\r\n chunked"),
    "9110 5.1 NUL in a name": head(b"X\0A: 1"),
    "9110 5.1 byte beyond ASCII in a name": head(b"X-\xe9: 1"),
    "9110 5.1 parenthesis in a name": head(b"X(A): 1"),
    "9110 5.1 quote in a name": head(b'X"A: 1'),
    "9110 5.1 slash in a name": head(b"X/A: 1"),
    "9110 5.1 at in a name": head(b"X@A: 1"),
    "9110 5.1 comma in a name": head(b"X,A: 1"),
    "9110 5.1 brackets in a name": head(b"X[A]: 1"),
    "9110 5.1 only a space for a name": head(b" : 1"),
    "9110 5.5 form feed in a value": head(b"X-A: a\x0cb"),
    "9110 5.5 escape in a value": head(b"X-A: a\x1b[31mb"),
    "9110 5.5 NUL in a value": head(b"X-A: a\0b"),
    "9110 5.5 control byte in a value": head(b"X-A: a\x01b"),
    "9110 5.5 delete in a value": head(b"X-A: a\x7fb"),
    "9110 5.5 vertical tab in a value": head(b"X-A: a\x0bb"),
    # where a body ends (RFC 9112 §6)
    "9112 6.1 Transfer-Encoding in HTTP/1.0": head(
        b"Transfer-Encoding: chunked", b"Connection: keep-alive", line=b"POST /main/x HTTP/1.0"
    ) + LAST,
    "9112 6.1 chunked twice": framed(b"Transfer-Encoding: chunked, chunked"),
    "9112 6.1 chunked in two fields": framed(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
    "9112 6.1 CL.TE": framed(b"Content-Length: 13", b"Transfer-Encoding: chunked", body=LAST + SMUGGLED),
    "9112 6.1 TE.CL": framed(b"Transfer-Encoding: chunked", b"Content-Length: 4", body=LAST + SMUGGLED),
    "9112 6.1 length of nothing and chunked": framed(b"Content-Length: 0", b"Transfer-Encoding: chunked"),
    "9112 6.3 TE.TE, one unknown": framed(b"Transfer-Encoding: chunked", b"Transfer-Encoding: cow"),
    "9112 6.3 TE.TE, the last unknown": framed(b"Transfer-Encoding: cow", b"Transfer-Encoding: chunked"),
    "9112 6.3 unknown encoding": framed(b"Transfer-Encoding: cow"),
    "9112 6.3 identity": framed(b"Transfer-Encoding: identity"),
    "9112 6.3 gzip": framed(b"Transfer-Encoding: gzip"),
    "9112 6.3 chunked, not last": framed(b"Transfer-Encoding: chunked, gzip"),
    "9112 6.3 gzip, chunked": framed(b"Transfer-Encoding: gzip, chunked"),
    "9112 6.3 identity, chunked": framed(b"Transfer-Encoding: identity, chunked"),
    "9112 6.3 empty encoding": framed(b"Transfer-Encoding:"),
    "9112 6.3 empty element before": framed(b"Transfer-Encoding: ,chunked"),
    "9112 6.3 empty element behind": framed(b"Transfer-Encoding: chunked,"),
    "9112 6.3 a letter before": framed(b"Transfer-Encoding: xchunked"),
    "9112 6.3 a letter behind": framed(b"Transfer-Encoding: chunkedx"),
    "9112 6.3 a parameter": framed(b"Transfer-Encoding: chunked;q=1"),
    "9112 6.3 quoted": framed(b'Transfer-Encoding: "chunked"'),
    "9112 6.3 vertical tab before": framed(b"Transfer-Encoding: \x0bchunked"),
    "9112 6.3 form feed behind": framed(b"Transfer-Encoding: chunked\x0c"),
    "9112 6.3 long s": framed("Transfer-Encoding: chunKed".replace("K", "\u212a").encode()),
    "9112 6.3 two lengths": framed(b"Content-Length: 3", b"Content-Length: 4", body=b"abc" + SMUGGLED),
    "9112 6.3 two equal lengths": framed(b"Content-Length: 3", b"Content-Length: 3", body=b"abc"),
    "9112 6.3 list of lengths": framed(b"Content-Length: 3, 3", body=b"abc"),
    "9112 6.3 list with nothing behind": framed(b"Content-Length: 3,", body=b"abc"),
    "9112 6.3 length in quotes": framed(b'Content-Length: "3"', body=b"abc"),
    "9112 6.3 zeros beyond all numbers": framed(b"Content-Length: " + b"0" * 19 + b"3", body=b"abc"),
    "9112 6.3 vertical tab before a length": framed(b"Content-Length: \x0b3", body=b"abc"),
    "9112 6.3 +3": framed(b"Content-Length: +3", body=b"abc"),
    "9112 6.3 -3": framed(b"Content-Length: -3", body=b"abc"),
    "9112 6.3 3 3": framed(b"Content-Length: 3 3", body=b"abc"),
    "9112 6.3 0x3": framed(b"Content-Length: 0x3", body=b"abc"),
    "9112 6.3 3.0": framed(b"Content-Length: 3.0", body=b"abc"),
    "9112 6.3 3e0": framed(b"Content-Length: 3e0", body=b"abc"),
    "9112 6.3 1_0": framed(b"Content-Length: 1_0", body=b"a" * 10),
    "9112 6.3 digits of another script": framed("Content-Length: \uff13".encode(), body=b"abc"),
    "9112 6.3 empty length": framed(b"Content-Length:", body=b"abc"),
    "9112 6.3 length of 2**64": framed(b"Content-Length: 18446744073709551616", body=b"abc"),
    "9112 6.3 length of 2**64 - 1": framed(b"Content-Length: 18446744073709551615", body=b"abc"),
    "9112 6.3 length of 2**64 + 3": framed(b"Content-Length: 18446744073709551619", body=b"abc"),
    "9112 6.3 length of 5,000 digits": framed(b"Content-Length: " + b"9" * 5000, body=b"abc"),
    "9110 7.8 upgrade and a length": framed(b"Connection: Upgrade", b"Upgrade: h2c", b"Content-Length: 3", body=b"abc"),
    "9110 7.8 upgrade and chunks": framed(b"Connection: Upgrade", b"Upgrade: h2c", b"Transfer-Encoding: chunked"),
}  # fmt: skip


@pytest.mark.parametrize("whole", REFUSED.values(), ids=REFUSED)
async def test_a_message_whose_framing_is_faulty_is_refused_and_its_connection_closed(
    front: Front, whole: bytes
) -> None:
    heard = await told(front, whole + SECOND)

    assert heard.statuses == [400]
    assert heard.answers[0].all(b"connection") == [b"close"]
    assert heard.counting.begun == 0


NOT_PASSED_ON = {
    "9112 3.2.1 fragment": (head(line=b"GET /main/x#y HTTP/1.1"), 400),
    "9112 3.2.2 absolute form": (head(line=b"GET http://front/main/x HTTP/1.1"), 400),
    "9112 3.2.2 absolute form of another scheme": (head(line=b"GET ftp://front/main/x HTTP/1.1"), 400),
    "9112 3.2.3 CONNECT": (head(line=b"CONNECT front:80 HTTP/1.1"), 400),
    "9112 3.2.3 CONNECT with a path": (head(line=b"CONNECT /main/x HTTP/1.1"), 405),
    "9112 3.2.4 asterisk of a GET": (head(line=b"GET * HTTP/1.1"), 400),
    "9110 9.3.8 TRACE": (head(line=b"TRACE /main/x HTTP/1.1"), 405),
    "9110 9.1 method of WebDAV": (head(line=b"PROPFIND /main/x HTTP/1.1"), 405),
}


@pytest.mark.parametrize(("whole", "status"), NOT_PASSED_ON.values(), ids=NOT_PASSED_ON)
async def test_a_request_that_is_clear_and_not_wanted_leaves_the_next_one_alone(
    front: Front, whole: bytes, status: int
) -> None:
    heard = await told(front, whole + SECOND)

    assert heard.statuses == [status, 200]
    assert heard.paths == [b"/main/second"]


BAD_CHUNKS = {
    "9112 7.1 bare LF behind a size": b"3\nabc\r\n0\r\n\r\n",
    "9112 7.1 bare LF behind a chunk": b"3\r\nabc\n0\r\n\r\n",
    "9112 7.1 bare LF behind the last size": b"3\r\nabc\r\n0\n\r\n",
    "9112 7.1 bare LF at the end": b"3\r\nabc\r\n0\r\n\n",
    "9112 7.1 bare CR behind a size": b"3\rabc\r\n0\r\n\r\n",
    "9112 7.1 no size": b"\r\nabc\r\n0\r\n\r\n",
    "9112 7.1 space before a size": b" 3\r\nabc\r\n0\r\n\r\n",
    "9112 7.1 space behind a size": b"3 \r\nabc\r\n0\r\n\r\n",
    "9112 7.1 tab behind a size": b"3\t\r\nabc\r\n0\r\n\r\n",
    "9112 7.1 +3": b"+3\r\nabc\r\n0\r\n\r\n",
    "9112 7.1 -3": b"-3\r\nabc\r\n0\r\n\r\n",
    "9112 7.1 0x3": b"0x3\r\nabc\r\n0\r\n\r\n",
    "9112 7.1 3_0": b"1_0\r\n" + b"a" * 16 + b"\r\n0\r\n\r\n",
    "9112 7.1 letters": b"xyz\r\nabc\r\n0\r\n\r\n",
    "9112 7.1 digits of another script": "\uff13\r\nabc\r\n0\r\n\r\n".encode(),
    "9112 7.1 17 digits": b"0" * 16 + b"3\r\nabc\r\n0\r\n\r\n",
    "9112 7.1 size of 2**64 + 3": b"10000000000000003\r\nabc\r\n0\r\n\r\n",
    "9112 7.1 longer than its size": b"3\r\nabcd\r\n0\r\n\r\n",
    "9112 7.1 shorter than its size": b"4\r\nabc\r\n0\r\n\r\n",
    "9112 7.1.1 LF in an extension": b"3;a=\n\r\nabc\r\n0\r\n\r\n",
    "9112 7.1.1 CR in an extension": b"3;a=\rb\r\nabc\r\n0\r\n\r\n",
    "9112 7.1.1 NUL in an extension": b"3;a=\0\r\nabc\r\n0\r\n\r\n",
    "9112 7.1.1 CRLF in a quoted extension": b'3;a="\r\n"\r\nabc\r\n0\r\n\r\n',
    "9112 7.1.1 CR before the CRLF": b"3\r\r\nabc\r\n0\r\n\r\n",
    "9112 7.1.1 extension without end": b"3;" + b"a" * 5000 + b"\r\nabc\r\n0\r\n\r\n",
    "9112 7.1.1 space before an extension": b"3 ;a=b\r\nabc\r\n0\r\n\r\n",
    "9112 7.1.2 trailer without a colon": b"3\r\nabc\r\n0\r\nX-A\r\n\r\n",
    "9112 7.1.2 trailer folded": b"3\r\nabc\r\n0\r\nX-A: 1\r\n 2\r\n\r\n",
    "9112 7.1.2 trailer with a space in its name": b"3\r\nabc\r\n0\r\nX A: 1\r\n\r\n",
    "9112 7.1.2 trailer without a name": b"3\r\nabc\r\n0\r\n: x\r\n\r\n",
    "9112 7.1.2 trailer with a NUL": b"3\r\nabc\r\n0\r\nX-A: \0\r\n\r\n",
    "9112 7.1.2 trailers without end": b"3\r\nabc\r\n0\r\n" + b"X-A: 1\r\n" * 3000 + b"\r\n",
    "9112 11.2 another request as a chunk": b"3\r\nabc\r\n" + SMUGGLED,
}


@pytest.mark.parametrize("first", [b"", b"2\r\nhi\r\n"], ids=["at once", "behind a chunk"])
@pytest.mark.parametrize("body", BAD_CHUNKS.values(), ids=BAD_CHUNKS)
async def test_a_body_that_cannot_be_read_is_refused_and_its_connection_closed(
    front: Front, body: bytes, first: bytes
) -> None:
    heard = await told(front, chunked(first + body) + SECOND)

    assert heard.statuses == [400]
    assert heard.answers[0].all(b"connection") == [b"close"]
    assert heard.paths == []


GOOD_BODIES = {
    "9112 2.2 an empty line before": b"\r\n" + post(b"/main/x", b"abc"),
    "9112 5.1 spaces around a length": framed(b"Content-Length: \t 3 \t ", body=b"abc"),
    "9112 6.2 zeros before a length": framed(b"Content-Length: 0000003", body=b"abc"),
    "9112 6.3 a request as a body": post(b"/main/x", SMUGGLED),
    "9112 6.2 a length of zeros": framed(b"Content-Length: 00", body=b""),
    "9112 6.3 a length named in Connection": framed(b"Connection: Content-Length", b"Content-Length: 3", body=b"abc"),
    "9112 6.3 chunks named in Connection": framed(b"Connection: Transfer-Encoding", b"Transfer-Encoding: chunked"),
    "9112 6.3 a length with an underscore is none": framed(b"Content_Length: 3", body=b""),
    "9112 6.3 an encoding with an underscore is none": framed(b"Transfer_Encoding: chunked", body=b""),
    "9112 7.1 a last chunk of many zeros": chunked(b"3\r\nabc\r\n" + b"0" * 16 + b"\r\n\r\n"),
    "9112 7.1 capital digits": chunked(b"A\r\n0123456789\r\n0\r\n\r\n"),
    "9112 7.1.1 extensions of nothing": chunked(b"3;;; ;\r\nabc\r\n0;\r\n\r\n"),
    "9112 7.1.1 bytes beyond ASCII in an extension": chunked(b"3;a=\xff\r\nabc\r\n0\r\n\r\n"),
    "9110 10.1.4 TE is no framing": framed(b"TE: chunked", body=b""),
    "9112 6.3 a request as the body of a GET": post(b"/main/x", SMUGGLED, method=b"GET"),
    "9112 7.1 a request as a chunk": post_chunks(b"/main/x", SMUGGLED, b""),
    "9112 7.1 zeros before a size": chunked(b"0003\r\nabc\r\n00\r\n\r\n"),
    "9112 7.1 size in capitals": chunked(b"A\r\n" + b"a" * 10 + b"\r\n0\r\n\r\n"),
    "9112 7.1 encoding in capitals": framed(b"Transfer-Encoding: CHUNKED"),
    "9112 7.1.1 extensions": chunked(b'3;a;b=c;d="e f"\r\nabc\r\n0;g\r\n\r\n'),
    "9112 7.1.2 trailers": chunked(b"3\r\nabc\r\n0\r\nX-User-Id: 1\r\nContent-Length: 99\r\nHost: other\r\n\r\n"),
    "9110 7.8 an upgrade of HTTP/1.0 is ignored": head(
        b"Connection: Upgrade, keep-alive", b"Upgrade: websocket", line=b"GET /main/x HTTP/1.0"
    ),
    "9110 10.1.1 an expectation of HTTP/1.0 is ignored": framed(
        b"Expect: 100-continue", b"Connection: keep-alive", b"Content-Length: 3", body=b"abc"
    ).replace(b"HTTP/1.1", b"HTTP/1.0"),
}


@pytest.mark.parametrize("whole", GOOD_BODIES.values(), ids=GOOD_BODIES)
async def test_a_message_with_odd_but_clear_framing_is_one_message(front: Front, whole: bytes) -> None:
    heard = await told(front, whole + SECOND)

    assert heard.statuses == [200, 200]
    assert heard.answers[0].interims == []
    assert heard.paths == [b"/main/x", b"/main/second"]
    assert b"user" not in heard.counting.requests[0].head
    assert b"other" not in heard.counting.requests[0].head


CUT_SHORT = {
    "9112 8 length": framed(b"Content-Length: 4000", body=b"abc"),
    "9112 8 chunk": chunked(b"fff\r\nabc"),
    "9112 8 chunks": chunked(b"3\r\nabc\r\n"),
    "9112 8 last chunk": chunked(b"3\r\nabc\r\n0\r\n"),
    "9112 8 trailers": chunked(b"3\r\nabc\r\n0\r\nX-A: 1\r\n"),
    "9112 8 length beyond all bounds": chunked(b"ffffffffffffffff\r\nabc"),
}


@pytest.mark.parametrize("whole", CUT_SHORT.values(), ids=CUT_SHORT)
async def test_a_message_that_is_not_whole_is_never_taken_for_whole(front: Front, whole: bytes) -> None:
    heard = await told(front, whole)

    assert heard.statuses == [408]
    assert heard.counting.requests == []
    assert heard.counting.begun == 1


EXPECTATIONS = {
    "9110 10.1.1 in capitals": (b"Expect: 100-CONTINUE", [100]),
    "9110 10.1.1 with spaces": (b"Expect: 100-continue ", [100]),
    "9110 10.1.1 unknown": (b"Expect: 200-ok", []),
    "9110 10.1.1 empty": (b"Expect:", []),
}


@pytest.mark.parametrize(("expectation", "interims"), EXPECTATIONS.values(), ids=EXPECTATIONS)
async def test_an_expectation_is_met_and_ends_with_us(front: Front, expectation: bytes, interims: list[int]) -> None:
    heard = await told(front, post(b"/main/x", b"abc", expectation) + SECOND)

    assert heard.statuses == [200, 200]
    assert heard.answers[0].interims == interims
    assert heard.counting.requests[0].all(b"expect") == []


async def test_an_expectation_is_not_met_for_a_request_that_is_refused(front: Front) -> None:
    heard = await told(front, get(b"/mine/x", b"Expect: 100-continue", b"Content-Length: 3", method=b"POST"))

    assert heard.statuses == [401]
    assert heard.answers[0].interims == []
    assert heard.answers[0].all(b"connection") == [b"close"]


@pytest.mark.parametrize("connection", [b"close", b"Close", b"keep-alive, close", b"close\r\nConnection: keep-alive"])
async def test_what_stands_behind_a_close_is_never_asked(front: Front, connection: bytes) -> None:
    """RFC 9112 §9.6."""
    heard = await told(front, get(b"/main/x", b"Connection: " + connection) + SECOND)

    assert heard.statuses == [200]
    assert heard.paths == [b"/main/x"]


@pytest.mark.parametrize("connection", [b"", b"close", b"keep-alive, close", b"x"])
async def test_what_stands_behind_a_request_of_http_1_0_is_never_asked(front: Front, connection: bytes) -> None:
    """RFC 9112 §9.3."""
    heard = await told(front, head(b"Connection: " + connection, line=b"GET /main/x HTTP/1.0") + SECOND)

    assert heard.statuses == [200]
    assert heard.paths == [b"/main/x"]


@pytest.mark.parametrize("size", [8 * 1024, 32 * 1024])
async def test_a_head_is_measured_wherever_it_is_cut(front: Front, size: int) -> None:
    status = 414 if size == 8 * 1024 else 431
    start = b"GET /main/" + b"x" * size if status == 414 else head(b"X-A: " + b"x" * size)[:-4]
    with front.patience(**HASTE):
        for piece_bytes in (len(start) + 100, 1000):
            async with front.calling() as caller:
                for at in range(0, len(start), piece_bytes):
                    await caller.send(start[at : at + piece_bytes])
                answered = await caller.answer()

                assert answered.status == status
                assert await caller.is_cut()
