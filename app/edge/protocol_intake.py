"""What has arrived from a client and was not taken yet: heads are cut off it, one by one, within their limits."""

from app.edge.faults import HeadTooLarge, TargetTooLong
from app.edge.protocol_head import HeadParser

HEAD_LIMIT_BYTES = 32 * 1024
REQUEST_LINE_LIMIT_BYTES = 8 * 1024
PIPELINED_LIMIT_BYTES = 64 * 1024
_HEAD_END = b"\r\n\r\n"


class Intake:
    """Cost: what arrived is copied once where a head comes in pieces, else never; a byte is searched once."""

    __slots__ = ("_at", "_data", "_has_skipped_line", "_head", "_searched", "has_bytes", "is_searched")

    def __init__(self) -> None:
        self._head: HeadParser | None = None
        self._data: bytes | bytearray = b""
        self._at = self._searched = 0
        self._has_skipped_line = False
        self.has_bytes = False
        """an attribute, as it is asked for several times a request"""
        self.is_searched = False
        """whether the beginning of a head was looked at before"""

    @property
    def head(self) -> HeadParser:
        """What reads the heads of this connection: made for the first one that has to be read."""
        if self._head is None:
            self._head = HeadParser()
        return self._head

    @property
    def has_head(self) -> bool:
        return self._data.find(_HEAD_END, self._at) >= 0

    @property
    def is_full(self) -> bool:
        return len(self._data) - self._at > PIPELINED_LIMIT_BYTES

    @property
    def beginning(self) -> bytes:
        """What there is of a head that is not complete, or its first kilobyte."""
        return bytes(self._data[self._at : self._at + 1024])

    def add(self, data: bytes) -> None:
        self.has_bytes = self.has_bytes or len(data) > 0
        if len(self._data) == self._at:
            self._data, self._at, self._searched = data, 0, 0
            return
        if not isinstance(self._data, bytearray):
            self._data = bytearray(self._data)
        if self._at > PIPELINED_LIMIT_BYTES:
            del self._data[: self._at]
            self._searched = max(0, self._searched - self._at)
            self._at = 0
        self._data += data

    def next_head(self) -> bytes | None:
        """Cut off a head, if one is complete. Errors: TargetTooLong, HeadTooLarge."""
        data = self._data
        if not self._has_skipped_line and data.startswith(b"\r\n", self._at):
            self._at += 2  # one empty line before a request is ignored (RFC 9112 §2.2)
            self._has_skipped_line = True
            self.has_bytes = len(data) > self._at
        at = self._at
        end = data.find(_HEAD_END, max(at, self._searched))
        size = (len(data) if end < 0 else end + len(_HEAD_END)) - at
        if size > REQUEST_LINE_LIMIT_BYTES and data.find(b"\r\n", at, at + REQUEST_LINE_LIMIT_BYTES + 2) < 0:
            raise TargetTooLong(f"The request line may have {REQUEST_LINE_LIMIT_BYTES} bytes.")
        if size > HEAD_LIMIT_BYTES:
            raise HeadTooLarge(f"The head may have {HEAD_LIMIT_BYTES} bytes.")
        if end < 0:
            self._searched = max(at, len(data) - len(_HEAD_END) + 1)
            self.is_searched = size > 0
            return None
        self._has_skipped_line = self.is_searched = False
        self._at = at + size
        head = bytes(data[at : self._at])
        if self._at == len(data):
            self._data, self._at, self._searched = b"", 0, 0  # an idle connection keeps nothing of what it was sent
            self.has_bytes = False
        return head

    def end(self) -> None:
        """Keep nothing any more."""
        self.take_all()
        if self._head is not None:
            self._head.end()
            self._head = None

    def take_all(self) -> bytes:
        """Take everything behind the last head."""
        data, self._data = self._data, b""
        at, self._at, self._searched = self._at, 0, 0
        self.has_bytes = False
        return bytes(data[at:]) if at else bytes(data)

    def put_back(self, rest: bytes) -> None:
        """Put in again what was taken and not needed."""
        self._data, self._at, self._searched = rest, 0, 0
        self.has_bytes = len(rest) > 0


def first_words(beginning: bytes) -> tuple[bytes, bytes]:
    """Tell what may have been the method and the path of a head that cannot be read."""
    method, _, rest = beginning.partition(b"\r\n")[0].partition(b" ")
    return method[:32], rest.partition(b"?")[0].partition(b" ")[0][:1024]
