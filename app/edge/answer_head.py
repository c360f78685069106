"""The head of an upstream's answer, read by llhttp; what llhttp lets through and RFC 9112 does not is refused here.

Facts
- llhttp refuses bare CR, bare LF, NUL and folded lines in fields, repeated and malformed Content-Length, and
  Content-Length beside Transfer-Encoding. It lets through: leading empty lines, RTSP and other versions, statuses
  outside 100..599, "gzip, chunked", repeated Transfer-Encoding, Transfer-Encoding on HTTP/1.0 (RFC 9112 §6.1), NUL in
  the reason phrase.
- HEAD, 1xx, 204 and 304 have no body, whatever their fields say (RFC 9112 §6.3).
- Services answer with the same head again and again, down to the second of its Date: reading the same bytes twice
  gives the same head, so that the last ones are remembered.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from functools import cached_property

import httptools

from app.edge.headers import Headers, field_lines, is_event_stream, returned_headers
from app.edge.rate_limit import LIMIT_NAMES

FIELD_LIMIT = 100
HEAD_LIMIT_BYTES = 32 * 1024
REMEMBERED_HEADS = 512
REMEMBERED_HEAD_BYTES = 2048

_FRAMING_FIELDS = frozenset((b"content-length", b"transfer-encoding", b"connection"))


class AnswerMalformed(Exception):
    """These bytes are no answer, or one that is refused."""


class Framing(Enum):
    """What ends the body of an answer."""

    LENGTH = auto()
    CHUNKED = auto()
    CLOSE = auto()
    """the end of the connection: it cannot be reused"""
    NONE = auto()
    """there is no body"""


@dataclass(frozen=True)
class AnswerHead:
    """Shapes: names in lower case; values, order and duplicates as sent; `length_bytes` for LENGTH only."""

    status: int
    reason: bytes
    headers: Headers
    framing: Framing
    length_bytes: int = 0
    is_persistent: bool = False
    """by version and Connection field (RFC 9112 §9.3): says nothing of bytes after the end"""

    @cached_property
    def body_bytes(self) -> int:
        """How long the body is, where the head says so; else -1."""
        if self.is_interim:
            return -1  # more follows it
        return {Framing.LENGTH: self.length_bytes, Framing.NONE: 0}.get(self.framing, -1)

    @cached_property
    def is_open_ended(self) -> bool:
        """Whether the head does not say how long the body is."""
        return self.framing in {Framing.CHUNKED, Framing.CLOSE}

    @cached_property
    def is_event_stream(self) -> bool:
        """Whether the body may be silent for long."""
        return is_event_stream(self.headers)

    @property
    def is_interim(self) -> bool:
        return self.status < 200 and self.status != 101

    @cached_property
    def returned_lines(self) -> bytes:
        """What a client is sent of the fields, as lines."""
        return field_lines(returned_headers(self.status, self.headers))

    @cached_property
    def returned_unlimited_lines(self) -> bytes:
        """The same without what the upstream says of a limit, where the edge speaks of one of its own."""
        fields = returned_headers(self.status, self.headers)
        return field_lines([one for one in fields if one[0] not in LIMIT_NAMES])


class HeadReader:
    """Concurrency: one per worker, of the event loop's thread. Cost: a look-up for a head that came a moment ago."""

    __slots__ = ("_known", "_known_to_head", "known")

    def __init__(self) -> None:
        self._known: dict[bytes, AnswerHead] = {}
        self.known: Callable[[bytes], AnswerHead | None] = self._known.get
        """find a head that came a moment ago, and not in answer to HEAD"""
        self._known_to_head: dict[bytes, AnswerHead] = {}

    def read(self, block: bytes, *, is_to_head: bool) -> AnswerHead:
        """Read a head, from its status line to its empty line, of an answer to HEAD or not. Errors: AnswerMalformed."""
        known = self._known_to_head if is_to_head else self._known
        head = known.get(block)
        if head is None:
            head = read_head(block, is_to_head=is_to_head)
            if len(known) >= REMEMBERED_HEADS:
                known.clear()
            if len(block) <= REMEMBERED_HEAD_BYTES:
                known[block] = head
        return head


def read_head(block: bytes, *, is_to_head: bool) -> AnswerHead:
    """Read a head, remembering nothing. Errors: AnswerMalformed."""
    if not block.startswith((b"HTTP/1.1 ", b"HTTP/1.0 ")):
        raise AnswerMalformed("this is neither HTTP/1.1 nor 1.0")
    if len(block) > HEAD_LIMIT_BYTES:
        raise AnswerMalformed("the head is too large")
    fields = _Fields()
    llhttp = httptools.HttpResponseParser(fields)
    try:
        llhttp.feed_data(block)
    except httptools.HttpParserUpgrade:
        pass  # a 101 that says to what; without Upgrade and Connection fields it is an error
    except httptools.HttpParserError as malformed:
        raise AnswerMalformed(str(malformed)) from malformed
    status = llhttp.get_status_code()
    reason = block[13 : block.index(b"\r\n")]
    if not 100 <= status <= 599 or b"\0" in reason:
        raise AnswerMalformed("the status line is malformed")
    if len(fields.all) > FIELD_LIMIT:
        raise AnswerMalformed("the head has too many fields")
    return _head_of(status, reason, fields.all, is_http_1_0=block.startswith(b"HTTP/1.0"), is_to_head=is_to_head)


class _Fields:
    """What llhttp reports."""

    __slots__ = ("all",)

    def __init__(self) -> None:
        self.all: Headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.all.append((name.lower(), value))


def _head_of(status: int, reason: bytes, fields: Headers, *, is_http_1_0: bool, is_to_head: bool) -> AnswerHead:
    declared: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        if name in _FRAMING_FIELDS:
            declared.setdefault(name, []).append(value.strip(b" \t").lower())
    framing, length_bytes = _framed(declared, is_http_1_0=is_http_1_0)
    is_persistent = _persistent(declared.get(b"connection", []), is_http_1_0=is_http_1_0)
    if status == 101:
        framing, length_bytes = Framing.CLOSE, 0
    elif is_to_head or status < 200 or status in {204, 304}:
        framing, length_bytes = Framing.NONE, 0
    return AnswerHead(status, reason, fields, framing, length_bytes, is_persistent)


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
