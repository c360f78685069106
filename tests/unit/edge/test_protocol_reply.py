from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.server import ServerState

from app.edge.protocol_reply import Reply
from app.edge.record import Answer
from tests.unit.edge.parts import a_record

DATE = b"date: today\r\n"


@dataclass(slots=True)
class Wire:
    """What a reply writes to."""

    keeps_alive: bool = True
    sent: bytes = b""
    ends: list[str] = field(default_factory=list)
    server_state: ServerState = field(default_factory=ServerState)

    def __post_init__(self) -> None:
        self.server_state.default_headers = [(b"date", b"today")]

    def write(self, data: bytes) -> None:
        self.sent += data

    def on_answer_begins(self) -> None:
        self.ends.append("begun")

    def on_answered(self) -> None:
        self.ends.append("answered")

    def break_off(self) -> None:
        self.ends.append("broken off")


def a_reply(method: str = "GET", *, keeps_alive: bool = True, is_http_1_0: bool = False) -> tuple[Reply, Wire]:
    wire = Wire(keeps_alive=keeps_alive)
    reply = Reply(wire, a_record(method))
    reply.is_http_1_0 = is_http_1_0
    return reply, wire


def start_of(reply: Reply, *, is_open_ended: bool) -> Callable[[int, bytes, bytes], None]:
    return reply.start_open_ended if is_open_ended else reply.start


def unchunked(framed: bytes) -> tuple[bytes, bytes]:
    """Tell the body of a chunked answer, and what stands behind its end."""
    body = b""
    while True:
        size, _, rest = framed.partition(b"\r\n")
        piece, framed = rest[: int(size, 16)], rest[int(size, 16) + 2 :]
        if not piece:
            return body, framed
        body += piece


@given(st.lists(st.binary(max_size=50), max_size=6), st.binary(max_size=50))
def test_any_pieces_make_the_same_body(pieces: list[bytes], first: bytes) -> None:
    reply, wire = a_reply()

    reply.start_open_ended(200, b"x-a: 1\r\n", first)
    for piece in pieces:
        reply.send(piece)
    reply.end()

    head, _, body = wire.sent.partition(b"\r\n\r\n")
    assert head == b"HTTP/1.1 200 OK\r\n" + DATE + b"x-a: 1\r\ntransfer-encoding: chunked"
    assert unchunked(body) == (first + b"".join(pieces), b"")
    assert wire.ends == ["begun", "answered"]


@pytest.mark.parametrize("size", [0, 1, 16 * 1024, 16 * 1024 + 1, 100_000])
@pytest.mark.parametrize("is_open_ended", [True, False])
def test_a_piece_of_any_size_goes_out_as_it_is(size: int, is_open_ended: bool) -> None:  # noqa: FBT001 - a table's column
    reply, wire = a_reply()

    start_of(reply, is_open_ended=is_open_ended)(200, b"", b"x" * size)
    reply.send(b"y" * size)
    reply.end()

    body = wire.sent.partition(b"\r\n\r\n")[2]
    assert (unchunked(body)[0] if is_open_ended else body) == b"x" * size + b"y" * size


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
@pytest.mark.parametrize("is_open_ended", [True, False])
def test_an_answer_that_may_have_no_body_has_none(method: str, status: int, is_open_ended: bool) -> None:  # noqa: FBT001 - a table's column
    reply, wire = a_reply(method)

    start_of(reply, is_open_ended=is_open_ended)(status, b"", b"body")
    reply.send(b"body")
    reply.end()

    assert wire.sent.endswith(DATE + b"\r\n")
    assert b"transfer-encoding" not in wire.sent


def test_an_old_client_gets_an_end_instead_of_chunks() -> None:
    reply, wire = a_reply(is_http_1_0=True)

    reply.start_open_ended(200, b"", b"he")
    reply.send(b"llo")
    reply.end()

    assert wire.sent == b"HTTP/1.1 200 OK\r\n" + DATE + b"connection: close\r\n\r\nhello"
    assert reply.is_close_delimited
    assert not wire.keeps_alive


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (a_reply(), b""),
        (a_reply(keeps_alive=False), b"close"),
        (a_reply(is_http_1_0=True), b"keep-alive"),
        (a_reply(keeps_alive=False, is_http_1_0=True), b"close"),
    ],
)
def test_whether_the_connection_stays_is_said_where_it_is_not_the_rule(line: tuple[Reply, Wire], said: bytes) -> None:
    reply, wire = line

    reply.start(200, b"content-length: 0\r\n")

    assert wire.sent.partition(b"connection: ")[2].partition(b"\r\n")[0] == said


@pytest.mark.parametrize("status", [200, 404, 499, 599])
def test_an_answer_of_our_own_has_a_length_and_an_id(status: int) -> None:
    reply, wire = a_reply()

    reply.answer(Answer(status, [(b"content-type", b"text/plain")], b"hello"))

    head, _, body = wire.sent.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r\ncontent-length: 5" in head
    assert b"\r\nx-request-id: " + reply.record.id.encode() in head
    assert body == b"hello"
    assert (reply.record.status, reply.record.bytes_out, wire.ends) == (status, 5, ["begun", "answered"])


def test_what_is_broken_off_has_no_end() -> None:
    reply, wire = a_reply()
    reply.start_open_ended(200, b"", b"half")

    reply.break_off()

    assert wire.sent.endswith(b"4\r\nhalf\r\n")
    assert wire.ends == ["begun", "broken off"]


def test_an_interim_answer_leaves_the_answer_as_it_was() -> None:
    reply, wire = a_reply()

    reply.interim(103, b"link: </a>\r\n")
    reply.interim(100)
    reply.interim(100)
    reply.answer(Answer(200, [], b"hi"))

    assert wire.sent.startswith(
        b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 "
    )
    assert wire.sent.count(b" 100 ") == 1
    assert wire.ends == ["begun", "answered"]


def test_http_1_0_knows_no_interim_answers() -> None:
    reply, wire = a_reply(is_http_1_0=True)

    reply.interim(103)
    reply.interim(100)

    assert wire.sent == b""
