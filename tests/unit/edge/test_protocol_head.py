import pytest

from app.edge.faults import HeadMalformed
from app.edge.protocol_head import HeadParser


def parsed(*lines: bytes, parser: HeadParser | None = None) -> HeadParser:
    parser = parser or HeadParser()
    parser.parse(b"\r\n".join((*lines, b"", b"")))
    return parser


def test_a_head_is_read() -> None:
    head = parsed(b"POST /a?b=c HTTP/1.1", b"Host: front", b"X-Twice: 1", b"x-twice: 2")

    assert (head.method, head.target) == (b"POST", b"/a?b=c")
    assert head.headers == [(b"host", b"front"), (b"x-twice", b"1"), (b"x-twice", b"2")]
    assert (head.is_persistent, head.is_http_1_0, head.asks_upgrade) == (True, False, False)


@pytest.mark.parametrize("value", [b"a b", b"\t a b", b"a b \t", b"  a b  "])
def test_a_value_is_what_stands_between_the_spaces(value: bytes) -> None:
    assert parsed(b"GET / HTTP/1.1", b"X:" + value).headers == [(b"x", b"a b")]


BODIES = {
    "length": b"Content-Length: 5",
    "chunked": b"Transfer-Encoding: chunked",
    "upgrade": b"Connection: upgrade\r\nUpgrade: websocket",
    "upgrade with a length": b"Connection: upgrade\r\nUpgrade: x\r\nContent-Length: 5",
    "nothing": b"X: y",
}


@pytest.mark.parametrize("first", BODIES.values(), ids=BODIES)
def test_a_head_is_read_as_if_it_were_the_first(first: bytes) -> None:
    parser = parsed(b"HEAD /first?x HTTP/1.0", b"Connection: keep-alive")
    parsed(b"POST /first HTTP/1.1", first, parser=parser)

    parsed(b"GET /second HTTP/1.1", b"A: 1", parser=parser)

    assert (parser.method, parser.target, parser.headers) == (b"GET", b"/second", [(b"a", b"1")])
    assert (parser.is_persistent, parser.is_http_1_0, parser.asks_upgrade) == (True, False, False)


def test_a_head_behind_a_malformed_one_is_read() -> None:
    parser = HeadParser()
    with pytest.raises(HeadMalformed):
        parsed(b"GET / HTTP/1.1", b"X : 1", parser=parser)

    parsed(b"GET /second HTTP/1.1", b"A: 1", parser=parser)

    assert (parser.target, parser.headers) == (b"/second", [(b"a", b"1")])


@pytest.mark.parametrize(
    ("lines", "is_persistent"),
    [
        ((b"GET / HTTP/1.1",), True),
        ((b"GET / HTTP/1.1", b"Connection: close"), False),
        ((b"GET / HTTP/1.1", b"Connection: x, CLOSE"), False),
        ((b"GET / HTTP/1.1", b"Connection: keep-alive", b"Connection: close"), False),
        ((b"GET / HTTP/1.0",), False),
        ((b"GET / HTTP/1.0", b"Connection: keep-alive"), True),
        ((b"GET / HTTP/1.0", b"Connection: keep-alive, close"), False),
    ],
)
def test_whether_a_connection_stays_is_the_clients_word(lines: tuple[bytes, ...], is_persistent: bool) -> None:  # noqa: FBT001 - a table's column
    assert parsed(*lines).is_persistent is is_persistent


MALFORMED = [
    (b"GET  / HTTP/1.1",), (b"GET /  HTTP/1.1",), (b"GET / HTTP/1.1 ",), (b"GET / HTTP/1.2",), (b"GET /",), (b"",),
    (b"GET / http/1.1",), (b"get / HTTP/1.1",), (b" GET / HTTP/1.1",), (b"GET / HTTP/1.1", b" X: 1"),
    (b"GET / HTTP/1.1", b"X: 1", b" 2"), (b"GET / HTTP/1.1", b"X : 1"), (b"GET / HTTP/1.1", b"X: \0"),
    (b"GET / HTTP/1.1", b"X: a\nY: b"), (b"GET / HTTP/1.1", b"X: a\rY: b"), (b"GET / HTTP/1.1", b"X"),
    (b"POST / HTTP/1.0", b"Transfer-Encoding: chunked"), (b"POST / HTTP/1.1", b"Content-Length: +1"),
]  # fmt: skip


@pytest.mark.parametrize("lines", MALFORMED)
def test_a_head_that_two_readers_could_take_differently_is_refused(lines: tuple[bytes, ...]) -> None:
    with pytest.raises(HeadMalformed):
        parsed(*lines)
