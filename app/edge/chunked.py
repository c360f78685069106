"""A chunked body, of a request or an answer, freed of its framing: where it ends is decided byte for byte; no I/O.

Source: RFC 9112 §7.1, with everything a lenient reader would take differently refused: bare LF, spaces around a size,
sizes of more than 16 digits, extensions and trailers without bounds. Trailers are dropped (RFC 9110 §6.5.1).
"""

import re
from enum import Enum, auto

FRAMING_LIMIT_BYTES = 16 * 1024
"""Sizes, extensions and trailers that arrive in a row without one byte of body."""
LINE_LIMIT_BYTES = 4 * 1024

# chunk-ext may hold anything printable here: it is dropped, but must not hide a line break
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;[\t\x20-\x7e\x80-\xff]*)?")
_TRAILER_LINE = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*")


LAST_CHUNK = b"0\r\n\r\n"


def chunk(piece: bytes) -> bytes:
    """Frame a piece of a body; an empty piece frames to nothing, as it would end the body."""
    return b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""


class ChunksMalformed(Exception):
    """These bytes are no chunked body, or one that is refused; the message says why."""


class _Part(Enum):
    SIZE = auto()
    PIECE = auto()
    PIECE_END = auto()
    TRAILERS = auto()


class ChunkedBody:
    """A chunked body. Cost: about a microsecond a chunk; holds at most one line of framing."""

    __slots__ = ("_framing_bytes", "_line", "_part", "is_complete", "least_left_bytes", "surplus")

    def __init__(self) -> None:
        self._part = _Part.SIZE
        self.least_left_bytes = 0
        self._line = b""
        self._framing_bytes = 0
        self.is_complete = False
        self.surplus = b""

    def feed(self, received: bytes) -> bytes:
        """Take what was received and return the body bytes in it. Errors: ChunksMalformed."""
        pieces: list[bytes] = []
        at, end = 0, len(received)
        while at < end and not self.is_complete:
            if self._part is _Part.PIECE:
                piece = received[at : at + self.least_left_bytes]
                pieces.append(piece)
                at += len(piece)
                self._framing_bytes = 0
                self.least_left_bytes -= len(piece)
                if self.least_left_bytes == 0:
                    self._part = _Part.PIECE_END
            else:
                at = self._read_line(received, at)
        if self.is_complete:
            self.surplus = received[at:]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _read_line(self, received: bytes, at: int) -> int:
        """Take what is there of a line of framing, and act on it when it is whole; return where to go on."""
        end = received.find(b"\n", at) + 1
        taken = received[at : end or None]
        self._framing_bytes += len(taken)
        line = self._line + taken if self._line else taken
        if len(line) > LINE_LIMIT_BYTES or self._framing_bytes > FRAMING_LIMIT_BYTES:
            raise ChunksMalformed("the body has more framing than content")
        if not end:
            self._line = line
            return len(received)
        self._line = b""
        if not line.endswith(b"\r\n"):
            raise ChunksMalformed("a line of the body's framing does not end with CRLF")
        self._take_line(line[:-2])
        return end

    def _take_line(self, line: bytes) -> None:
        if self._part is _Part.SIZE:
            found = _SIZE_LINE.fullmatch(line)
            if found is None:
                raise ChunksMalformed("a chunk's size cannot be read")
            self.least_left_bytes = int(found[1], 16)
            self._part = _Part.PIECE if self.least_left_bytes else _Part.TRAILERS
        elif self._part is _Part.PIECE_END:
            if line:
                raise ChunksMalformed("a chunk is not as long as its size says")
            self._part = _Part.SIZE
        elif not line:
            self.is_complete = True
        elif not _TRAILER_LINE.fullmatch(line):
            raise ChunksMalformed("a trailer cannot be read")
