from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.edge.answer_head import AnswerMalformed, Framing
from app.edge.upstream_answer import AnswerParser

OK = b"HTTP/1.1 200 OK\r\n"


def parsed(*received: bytes, method: bytes = b"GET") -> tuple[AnswerParser, bytes]:
    parser = AnswerParser(method)
    body = b"".join(parser.feed(piece) for piece in received)
    return parser, body


MALFORMED = {
    "bare-lf-after-status": b"HTTP/1.1 200 OK\nA: b\r\n\r\n",
    "bare-lf-after-field": OK + b"A: b\nB: c\r\n\r\n",
    "bare-lf-at-end": OK + b"A: b\r\n\n\r\n\r\n",
    "cr-in-value": OK + b"A: b\rc\r\n\r\n",
    "nul-in-value": OK + b"A: b\0c\r\n\r\n",
    "nul-in-reason": b"HTTP/1.1 200 O\0K\r\n\r\n",
    "cr-in-reason": b"HTTP/1.1 200 O\rK\r\n\r\n",
    "control-byte-in-value": OK + b"A: b\x01c\r\n\r\n",
    "folded-line": OK + b"A: b\r\n c\r\n\r\n",
    "space-before-colon": OK + b"A : b\r\n\r\n",
    "nameless-field": OK + b": b\r\n\r\n",
    "leading-empty-line": b"\r\n" + OK + b"\r\n",
    "not-http": b"SSH-2.0-OpenSSH_9.2\r\n",
    "rtsp": b"RTSP/1.0 200 OK\r\n\r\n",
    "http-2": b"HTTP/2.0 200 OK\r\n\r\n",
    "http-0.9": b"HTTP/0.9 200 OK\r\n\r\n",
    "status-099": b"HTTP/1.1 099 Low\r\n\r\n",
    "status-600": b"HTTP/1.1 600 High\r\n\r\n",
    "status-of-four-digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "length-and-chunked": OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    "chunked-and-length": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
    "lengths-differ": OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
    "lengths-listed": OK + b"Content-Length: 5, 6\r\n\r\n",
    "length-negative": OK + b"Content-Length: -5\r\n\r\n",
    "length-signed": OK + b"Content-Length: +5\r\n\r\n",
    "length-empty": OK + b"Content-Length:\r\n\r\n",
    "length-hex": OK + b"Content-Length: 0x5\r\n\r\n",
    "length-overflow": OK + b"Content-Length: 99999999999999999999999\r\n\r\n",
    "gzip-chunked": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    "chunked-twice": OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    "identity": OK + b"Transfer-Encoding: identity\r\n\r\n",
    "chunked-gzip": OK + b"Transfer-Encoding: chunked, gzip\r\n\r\n",
    "empty-encoding": OK + b"Transfer-Encoding:\r\n\r\n",
    "chunked-on-http-1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "unasked-upgrade": b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    "unasked-upgrade-without-field": b"HTTP/1.1 101 Switching\r\n\r\n",
    "too-many-fields": OK + b"A: b\r\n" * 101 + b"\r\n",
    "huge-head": OK + b"A: " + b"b" * 33_000 + b"\r\n\r\n",
    "endless-head": OK + b"A: " + b"b" * 33_000,
    "too-many-interims": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 17,
    "chunk-size-not-hex": OK + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "chunk-size-negative": OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
    "chunk-size-overflow": OK + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
    "chunk-bare-lf": OK + b"Transfer-Encoding: chunked\r\n\r\n2\nhi\r\n0\r\n\r\n",
    "chunk-too-long": OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhigh\r\n0\r\n\r\n",
    "endless-extension": OK + b"Transfer-Encoding: chunked\r\n\r\n2;" + b"x" * 33_000,
    "endless-trailers": OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"A: b\r\n" * 6_000,
}


@pytest.mark.parametrize("answer", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_answer_is_refused(answer: bytes) -> None:
    with pytest.raises(AnswerMalformed):
        parsed(answer)


@pytest.mark.parametrize("answer", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_answer_is_refused_byte_by_byte(answer: bytes) -> None:
    with pytest.raises(AnswerMalformed):
        parsed(*(answer[at : at + 1] for at in range(len(answer))))


def test_fields_keep_order_duplicates_and_values() -> None:
    parser, _ = parsed(OK + b"Set-Cookie: a=1\r\nX-Empty:\r\nset-cookie: B=2\r\nContent-Length: 0\r\n\r\n")

    assert parser.head is not None
    assert parser.head.headers == [
        (b"set-cookie", b"a=1"),
        (b"x-empty", b""),
        (b"set-cookie", b"B=2"),
        (b"content-length", b"0"),
    ]


def test_interim_answers_are_told_apart_from_the_final_one() -> None:
    parser, body = parsed(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 16 + OK + b"Content-Length: 2\r\n\r\nhi")

    assert parser.head is not None
    assert (parser.head.status, body, parser.is_complete) == (200, b"hi", True)
    assert [(head.status, head.headers) for head in parser.take_interims()] == [(103, [(b"link", b"x")])] * 16
    assert parser.take_interims() == ()


BODILESS = {
    "head": (b"HEAD", OK + b"Content-Length: 10\r\n\r\n"),
    "head-chunked": (b"HEAD", OK + b"Transfer-Encoding: chunked\r\n\r\n"),
    "204": (b"GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 10\r\n\r\n"),
    "304": (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n"),
    "304-without-length": (b"GET", b"HTTP/1.1 304 Not Modified\r\n\r\n"),
}


@pytest.mark.parametrize(("method", "answer"), BODILESS.values(), ids=BODILESS)
def test_an_answer_without_body_ends_at_its_head(method: bytes, answer: bytes) -> None:
    parser, body = parsed(answer, method=method)

    assert parser.head is not None
    assert (parser.head.framing, parser.is_complete, parser.has_surplus, body) == (Framing.NONE, True, False, b"")


COMPLETE = {
    "length": OK + b"Content-Length: 2\r\n\r\nhi",
    "length-zero": OK + b"Content-Length: 0\r\n\r\n",
    "length-body-of-line-ends": OK + b"Content-Length: 4\r\n\r\n\r\n\r\n",
    "chunked": OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    "chunked-of-line-ends": OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n\r\n\r\n0\r\n\r\n",
    "chunked-extension": OK + b'Transfer-Encoding: Chunked\r\n\r\n2;a=b;c="d"\r\nhi\r\n0;z\r\n\r\n',
    "chunked-trailers": OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-User-Id: 1\r\n\r\n",
    "no-content": b"HTTP/1.1 204 No Content\r\n\r\n",
}


@pytest.mark.parametrize("answer", COMPLETE.values(), ids=COMPLETE)
@pytest.mark.parametrize("surplus", [b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"x", b"HTTP/1.1 200 OK\r\n\r\n", b"\0"])
def test_bytes_after_the_end_are_seen_and_belong_to_nobody(answer: bytes, surplus: bytes) -> None:
    alone, body = parsed(answer)
    together, body_together = parsed(answer + surplus)
    apart, body_apart = parsed(*(bytes((value,)) for value in answer), surplus)

    assert (alone.is_complete, alone.has_surplus) == (True, False)
    assert (together.is_complete, together.has_surplus, body_together) == (True, True, body)
    assert (apart.is_complete, apart.has_surplus, body_apart) == (True, True, body)


def test_trailers_do_not_join_the_head() -> None:
    parser, _ = parsed(COMPLETE["chunked-trailers"])

    assert parser.head is not None
    assert parser.head.headers == [(b"transfer-encoding", b"chunked")]


PERSISTENCE = {
    "1.1": (b"HTTP/1.1", b"", True),
    "1.1-close": (b"HTTP/1.1", b"Connection: close\r\n", False),
    "1.1-close-in-a-list": (b"HTTP/1.1", b"Connection: X-Thing, Close\r\n", False),
    "1.1-close-in-a-second-field": (b"HTTP/1.1", b"Connection: keep-alive\r\nConnection: close\r\n", False),
    "1.0": (b"HTTP/1.0", b"", False),
    "1.0-keep-alive": (b"HTTP/1.0", b"Connection: Keep-Alive\r\n", True),
    "upgrade-offered": (b"HTTP/1.1", b"Upgrade: h2c\r\nConnection: Upgrade\r\n", True),
}


@pytest.mark.parametrize(("version", "field", "is_persistent"), PERSISTENCE.values(), ids=PERSISTENCE)
def test_persistence_follows_version_and_connection_field(version: bytes, field: bytes, *, is_persistent: bool) -> None:
    parser, body = parsed(version + b" 200 OK\r\n" + field + b"Content-Length: 2\r\n\r\nhi")

    assert (parser.is_reusable, parser.is_complete, body) == (is_persistent, True, b"hi")


def test_an_accepted_upgrade_hands_over_raw_bytes() -> None:
    parser = AnswerParser(b"GET", allows_upgrade=True)

    body = parser.feed(b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x02hi")

    assert (parser.is_upgraded, body, parser.feed(b"\r\n\r\n")) == (True, b"\x81\x02hi", b"\r\n\r\n")


def test_an_upgrade_without_its_field_is_refused() -> None:
    parser = AnswerParser(b"GET", allows_upgrade=True)

    with pytest.raises(AnswerMalformed):
        parser.feed(b"HTTP/1.1 101 Switching\r\n\r\n")


@st.composite
def answers(draw: st.DrawFn) -> tuple[bytes, bytes, Framing]:
    """A valid answer as raw bytes, its body, and how that is framed."""
    pieces = draw(st.lists(st.binary(min_size=1, max_size=40), max_size=6))
    framing = draw(st.sampled_from([Framing.LENGTH, Framing.CHUNKED, Framing.CLOSE]))
    interims = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * draw(st.integers(0, 3))
    token = st.text("abcXYZ-_", min_size=1, max_size=8).map(lambda text: b"x" + text.encode())
    value = st.text("abc:;,\t é\xff", max_size=12).map(lambda text: text.strip().encode("latin-1"))
    fields = b"".join(b"%b: %b\r\n" % field for field in draw(st.lists(st.tuples(token, value), max_size=5)))
    body = b"".join(pieces)
    head = interims + b"HTTP/1.1 %d Whatever\r\n" % draw(st.sampled_from([200, 206, 404, 500])) + fields
    if framing is Framing.LENGTH:
        return head + b"Content-Length: %d\r\n\r\n" % len(body) + body, body, framing
    if framing is Framing.CLOSE:
        return head + b"\r\n" + body, body, framing
    extension = draw(st.sampled_from([b"", b";a", b";a=b"]))
    trailer = draw(st.sampled_from([b"", b"X-Sum: 1\r\n"]))
    chunks = b"".join(b"%x%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces)
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n" + trailer + b"\r\n", body, framing


@given(answer=answers(), cuts=st.lists(st.integers(0, 2000), max_size=30))
def test_any_cut_into_segments_gives_the_same_answer(answer: tuple[bytes, bytes, Framing], cuts: list[int]) -> None:
    raw, body, framing = answer
    bounds = [0, *sorted(min(cut, len(raw)) for cut in cuts), len(raw)]

    whole, whole_body = parsed(raw)
    parser, cut_body = parsed(*(raw[start:end] for start, end in pairwise(bounds)))

    assert parser.head == whole.head
    assert parser.head is not None
    assert parser.head.framing is framing
    assert whole_body == cut_body == body
    assert (parser.is_complete, parser.has_surplus) == (framing is not Framing.CLOSE, False)


@given(answer=answers(), data=st.data())
def test_any_truncation_is_known_as_one(answer: tuple[bytes, bytes, Framing], data: st.DataObject) -> None:
    raw, body, framing = answer
    parser, received = parsed(raw[: data.draw(st.integers(0, len(raw) - 1))])

    if parser.head is not None and framing is Framing.CLOSE:
        parser.feed_eof()
        assert parser.is_complete
    else:
        with pytest.raises(AnswerMalformed):
            parser.feed_eof()
        assert not parser.is_complete
    assert body.startswith(received)
