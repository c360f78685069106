"""The answer to one request on a client's connection: framed by us."""

import http
from collections.abc import Sequence
from typing import Protocol

from uvicorn.server import ServerState

from app.edge.answers import added_lines
from app.edge.chunked import LAST_CHUNK
from app.edge.headers import field_lines
from app.edge.record import Answer, Record

CONTINUE = 100
_BODILESS = frozenset({204, 304})
_JOINED_BYTES = 16 * 1024
"""up to here a copy is cheaper than two more writes"""


def _status_line(status: int) -> bytes:
    try:
        phrase = http.HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode()


_STATUS_LINES = {status: _status_line(status) for status in range(100, 600)}


class _Dated:
    """The server's own fields as lines: one of them is the date, so that they change once a second."""

    __slots__ = ("_lines", "_of")

    def __init__(self) -> None:
        self._of: Sequence[tuple[bytes, bytes]] = []
        self._lines = b""

    def lines(self, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
        if headers is not self._of:
            self._of, self._lines = headers, field_lines(list(headers))
        return self._lines


_dated = _Dated()


class Line(Protocol):
    """The client's connection, as far as an answer needs it."""

    keeps_alive: bool
    server_state: ServerState

    def write(self, data: bytes, /) -> None: ...
    def on_answer_begins(self) -> None:
        """Hear that a head is about to be sent: the last moment to decide whether the connection is kept."""

    def on_answered(self) -> None:
        """Hear that the answer was handed over whole."""

    def break_off(self) -> None:
        """Close so that nobody takes what was sent for whole."""


class Reply:
    """Concurrency: called from the event loop; nothing waits. Ends once, by `end` or by `break_off`."""

    __slots__ = (
        "_has_continued", "_is_chunked", "_line", "is_close_delimited", "is_http_1_0", "is_silent", "is_started",
        "record",
    )  # fmt: skip

    def __init__(self, line: Line, record: Record) -> None:
        self._line = line
        self.record = record
        self.is_http_1_0 = False
        """by the request's head: to be set before anything is sent"""
        self._has_continued = self._is_chunked = self.is_silent = False
        self.is_started = False
        self.is_close_delimited = False
        """the end of the connection is the end of the answer, so that a cut must be a reset"""

    def interim(self, status: int, lines: bytes = b"") -> None:
        """Send a 1xx before the head, but to clients that do not know it, and a 100 once.

        Source: RFC 9110 §15.2.
        """
        if self.is_http_1_0 or (status == CONTINUE and self._has_continued):
            return
        self._has_continued |= status == CONTINUE
        self._line.write(b"%b%b\r\n" % (_STATUS_LINES[status], lines))

    def start(self, status: int, lines: bytes, piece: bytes = b"") -> None:
        """Send a head, and what there is of the body; `lines` are its fields, and say how long the body is."""
        line, own = self._line, self._begin(status)
        if line.keeps_alive and not (self.is_silent or self.is_http_1_0) and len(piece) <= _JOINED_BYTES:
            line.write(b"%b%b%b\r\n%b" % (_STATUS_LINES[status], own, lines, piece))
        else:
            self._send_head(b"%b%b%b" % (_STATUS_LINES[status], own, lines), piece)

    def start_open_ended(self, status: int, lines: bytes, piece: bytes = b"") -> None:
        """Do the same where nobody knows yet how long the body is: it is framed here."""
        head = b"%b%b%b" % (_STATUS_LINES[status], self._begin(status), lines)
        if self.is_http_1_0 and not self.is_silent:
            self.is_close_delimited = True
            self._line.keeps_alive = False
        elif not self.is_silent:
            self._is_chunked = True
            head += b"transfer-encoding: chunked\r\n"
        self._send_head(head, piece)

    def _begin(self, status: int) -> bytes:
        """Decide what the head decides, and write the server's own fields."""
        line = self._line
        line.on_answer_begins()
        self.is_started = True
        self.is_silent = status in _BODILESS or self.record.method == b"HEAD"
        return _dated.lines(line.server_state.default_headers)

    def _send_head(self, head: bytes, piece: bytes) -> None:
        line = self._line
        if not line.keeps_alive:
            head += b"connection: close\r\n"
        elif self.is_http_1_0:
            head += b"connection: keep-alive\r\n"
        if self.is_silent or not piece:
            line.write(head + b"\r\n")
        elif self._is_chunked or len(piece) > _JOINED_BYTES:
            line.write(head + b"\r\n")
            self.send(piece)
        else:
            line.write(b"%b\r\n%b" % (head, piece))

    def switch(self, lines: bytes) -> None:
        """Send the head of a 101."""
        self.is_started = True
        own = _dated.lines(self._line.server_state.default_headers)
        self._line.write(b"%b%b%b\r\n" % (_STATUS_LINES[101], own, lines))

    def send(self, piece: bytes) -> None:
        if self.is_silent or not piece:
            return
        if not self._is_chunked:
            self._line.write(piece)
        elif len(piece) < _JOINED_BYTES:
            self._line.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        else:
            self._line.write(b"%x\r\n" % len(piece))
            self._line.write(piece)
            self._line.write(b"\r\n")

    def end(self) -> None:
        if self._is_chunked:
            self._line.write(LAST_CHUNK)
        self._line.on_answered()

    def break_off(self) -> None:
        self._line.break_off()

    def answer(self, answer: Answer) -> None:
        """Send an answer of the edge's own, whole."""
        length = [] if answer.status in _BODILESS else [(b"content-length", b"%d" % len(answer.body))]
        lines = field_lines([*answer.headers, *length]) + added_lines(self.record)
        self.record.status, self.record.bytes_out = answer.status, len(answer.body)
        self.start(answer.status, lines, answer.body)
        self.end()
