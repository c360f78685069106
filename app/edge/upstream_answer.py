"""The bytes of one answer, as a head, body pieces and an end; no I/O. llhttp checks the grammar; where a message ends
is decided here, so that every byte after the end is seen.

Facts it rests on:
- A head ends at its first empty line; llhttp refuses bare CR, bare LF, NUL and folded lines in fields, repeated
  and malformed Content-Length, and Content-Length beside Transfer-Encoding.
- llhttp lets through: leading empty lines, RTSP and other versions, statuses outside 100..599, "gzip, chunked",
  repeated Transfer-Encoding, Transfer-Encoding on HTTP/1.0 (RFC 9112 §6.1), NUL in the reason phrase, empty lines
  after the end.
- llhttp never completes a HEAD answer that has a Content-Length, and cannot be told of the end of file: only heads and
  chunked bodies are fed to it.
- Trailers arrive as headers after the head, and are dropped (RFC 9110 §6.5.1 allows it).
- HEAD, 1xx, 204 and 304 have no body, whatever their fields say (RFC 9112 §6.3).
"""

from dataclasses import dataclass
from enum import Enum, auto

import httptools

HEAD_LIMIT_BYTES = 32 * 1024
FIELD_LIMIT = 100
INTERIM_LIMIT = 16
FRAMING_LIMIT_BYTES = 32 * 1024
"""Chunk headers, extensions and trailers that arrive in a row without one byte of body."""

_FRAMING_FIELDS = frozenset((b"content-length", b"transfer-encoding", b"connection"))


class Framing(Enum):
    """What ends the body of an answer."""

    LENGTH = auto()
    CHUNKED = auto()
    CLOSE = auto()
    """the end of the connection: it cannot be reused"""
    NONE = auto()
    """there is no body"""


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """Shapes: names in lower case; values, order and duplicates as sent; `length_bytes` for LENGTH only."""

    status: int
    reason: bytes
    headers: list[tuple[bytes, bytes]]
    framing: Framing
    length_bytes: int = 0


class AnswerMalformed(Exception):
    """These bytes are no answer, or one that is refused."""


class AnswerParser:
    """Parse exactly one final answer, and the interim ones before it, to a request of `method`.

    It calls nobody, so that whoever feeds it acts only after `feed` has returned; methods called `on_...` are llhttp's.
    """

    __slots__ = (
        "_allows_upgrade",
        "_body",
        "_fields",
        "_framing_bytes",
        "_is_to_head",
        "_left_bytes",
        "_llhttp",
        "_pending",
        "_tail",
        "has_surplus",
        "head",
        "interims",
        "is_complete",
        "is_persistent",
        "is_upgraded",
    )

    def __init__(self, method: bytes, *, allows_upgrade: bool = False) -> None:
        self.head: AnswerHead | None = None
        self.interims = 0
        self.is_complete = False
        self.is_upgraded = False
        self.is_persistent = False
        """by version and Connection field (RFC 9112 §9.3): says nothing of bytes after the end"""
        self.has_surplus = False
        """bytes came after the end"""
        self._allows_upgrade = allows_upgrade
        self._is_to_head = method == b"HEAD"
        self._pending = b""
        self._fields: list[tuple[bytes, bytes]] = []
        self._tail = b""
        self._body: list[bytes] = []
        self._left_bytes = 0
        self._framing_bytes = 0

    def feed(self, received: bytes) -> bytes:
        """Take what was received and return the body bytes in it, freed of their framing.

        Errors: AnswerMalformed, after which the parser is of no more use.
        """
        while self.head is None and received:
            received = self._take_head(received)
        return self._take_body(received) if received else b""

    def feed_eof(self) -> None:
        """Take the end of the connection, which completes an answer only where nothing else was declared to.

        Errors: AnswerMalformed when the message was cut.
        """
        head = self.head
        if head is not None and head.framing is Framing.CLOSE:
            self.is_complete = True
        elif not self.is_complete:
            raise AnswerMalformed("the connection ended before the head" if head is None else "the body was cut")

    def _take_head(self, received: bytes) -> bytes:
        """Parse a head if it is complete by now, and return what follows it."""
        searched = 0
        if self._pending:
            searched = max(0, len(self._pending) - 3)
            received = self._pending + received
        end = received.find(b"\r\n\r\n", searched) + 4
        if end > 3:
            self._pending = b""
            self._parse_head(received[:end])
            return received[end:]
        if received[:7] != b"HTTP/1."[: len(received)]:
            raise AnswerMalformed("this is not HTTP/1")
        if len(received) > HEAD_LIMIT_BYTES:
            raise AnswerMalformed("the head is too large")
        self._pending = received
        return b""

    def _parse_head(self, block: bytes) -> None:
        if not block.startswith((b"HTTP/1.1 ", b"HTTP/1.0 ")):
            raise AnswerMalformed("this is neither HTTP/1.1 nor 1.0")
        if len(block) > HEAD_LIMIT_BYTES:
            raise AnswerMalformed("the head is too large")
        self._fields = []
        llhttp = httptools.HttpResponseParser(self)
        try:
            llhttp.feed_data(block)
        except httptools.HttpParserUpgrade:
            pass  # a 101 that says to what; without Upgrade and Connection fields it is an error
        except httptools.HttpParserError as malformed:
            raise AnswerMalformed(str(malformed)) from malformed
        self._accept_head(llhttp, block)

    def _accept_head(self, llhttp: httptools.HttpResponseParser, block: bytes) -> None:
        status = llhttp.get_status_code()
        reason = block[13 : block.index(b"\r\n")]
        if not 100 <= status <= 599 or b"\0" in reason:
            raise AnswerMalformed("the status line is malformed")
        if len(self._fields) > FIELD_LIMIT:
            raise AnswerMalformed("the head has too many fields")
        if status < 200 and status != 101:
            self.interims += 1
            if self.interims > INTERIM_LIMIT:
                raise AnswerMalformed("there are too many interim answers")
            return
        self.head = head = self._final_head(status, reason, is_http_1_0=block.startswith(b"HTTP/1.0"))
        if head.framing is Framing.CHUNKED:
            self._llhttp = llhttp
        elif head.framing is not Framing.CLOSE:
            self._left_bytes = head.length_bytes
            self.is_complete = head.length_bytes == 0

    def _final_head(self, status: int, reason: bytes, *, is_http_1_0: bool) -> AnswerHead:
        declared: dict[bytes, list[bytes]] = {}
        for name, value in self._fields:
            if name in _FRAMING_FIELDS:
                declared.setdefault(name, []).append(value.strip(b" \t").lower())
        framing, length_bytes = _framed(declared, is_http_1_0=is_http_1_0)
        self.is_persistent = _persistent(declared.get(b"connection", []), is_http_1_0=is_http_1_0)
        if status == 101:
            if not self._allows_upgrade:
                raise AnswerMalformed("nobody asked for this upgrade")
            self.is_upgraded = True
            framing, length_bytes = Framing.CLOSE, 0
        elif self._is_to_head or status in {204, 304}:
            framing, length_bytes = Framing.NONE, 0
        return AnswerHead(status, reason, self._fields, framing, length_bytes)

    def _take_body(self, received: bytes) -> bytes:
        if self.is_complete:
            self.has_surplus = True
            return b""
        if self.head is not None and self.head.framing is Framing.CHUNKED:
            return self._take_chunks(received)
        if self.head is not None and self.head.framing is Framing.CLOSE:
            return received
        left_bytes = self._left_bytes = self._left_bytes - len(received)
        if left_bytes > 0:
            return received
        self.is_complete = True
        self.has_surplus = left_bytes < 0
        return received[:left_bytes] if left_bytes else received

    def _take_chunks(self, received: bytes) -> bytes:
        self._framing_bytes += len(received)
        try:
            self._llhttp.feed_data(received)
        except httptools.HttpParserError as malformed:
            if not self.is_complete:
                raise AnswerMalformed(str(malformed)) from malformed
            self.has_surplus = True
        if self._framing_bytes > FRAMING_LIMIT_BYTES:
            raise AnswerMalformed("the body has more framing than content")
        self._tail = received[-5:] if len(received) >= 5 else (self._tail + received)[-5:]
        if self.is_complete:
            del self._llhttp  # it holds our methods: a cycle
            # The end is CRLF CRLF after something else; llhttp skips further empty lines without a word.
            self.has_surplus |= self._tail[1:] != b"\r\n\r\n" or self._tail[0] in b"\r\n"
        pieces, self._body = self._body, []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.head is None:
            self._fields.append((name.lower(), value))

    def on_message_begin(self) -> None:
        self.has_surplus = self.is_complete

    def on_body(self, piece: bytes) -> None:
        if not self.is_complete:
            self._framing_bytes = 0
            self._body.append(piece)

    def on_message_complete(self) -> None:
        self.is_complete = self.head is not None


def _framed(declared: dict[bytes, list[bytes]], *, is_http_1_0: bool) -> tuple[Framing, int]:
    """Source: RFC 9112 §6.3, with everything ambiguous refused."""
    encodings = declared.get(b"transfer-encoding")
    lengths = declared.get(b"content-length")
    if encodings is not None:
        if encodings != [b"chunked"] or is_http_1_0 or lengths is not None:
            raise AnswerMalformed("the transfer encoding is ambiguous")
        return Framing.CHUNKED, 0
    if lengths is None:
        return Framing.CLOSE, 0
    if len(lengths) > 1 or not lengths[0].isdigit():
        raise AnswerMalformed("the content length is ambiguous")
    return Framing.LENGTH, int(lengths[0])


def _persistent(connection: list[bytes], *, is_http_1_0: bool) -> bool:
    if not connection:
        return not is_http_1_0
    tokens = {token.strip(b" \t") for token in b",".join(connection).split(b",")}
    return b"close" not in tokens and (b"keep-alive" in tokens or not is_http_1_0)
