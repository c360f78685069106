"""The bytes of one answer, as a head, body pieces and an end; no I/O. Heads are read in `answer_head.py`; where a
message ends is decided here, so that every byte after the end is seen.
"""

from collections.abc import Sequence

from app.edge.answer_head import HEAD_LIMIT_BYTES, AnswerHead, AnswerMalformed, Framing, HeadReader
from app.edge.chunked import ChunkedBody, ChunksMalformed

INTERIM_LIMIT = 16

HEADS = HeadReader()
"""of this worker"""


class AnswerParser:
    """Parse exactly one final answer, and the interim ones before it, to a request of `method`.

    It calls nobody, so that whoever feeds it acts only after `feed` has returned. A head ends at its first empty line.
    """

    __slots__ = (
        "_allows_upgrade", "_chunks", "_interims", "_interims_left", "_is_to_head", "_left_bytes", "_pending",
        "has_surplus", "head", "is_complete",
    )  # fmt: skip

    def __init__(self, method: bytes, *, allows_upgrade: bool = False) -> None:
        self.head: AnswerHead | None = None
        self._interims: Sequence[AnswerHead] = ()
        self.is_complete = False
        self.has_surplus = False
        """bytes came after the end"""
        self._allows_upgrade = allows_upgrade
        self._interims_left = INTERIM_LIMIT
        self._is_to_head = method == b"HEAD"
        self._pending = b""
        self._chunks: ChunkedBody | None = None
        self._left_bytes = 0

    @property
    def is_upgraded(self) -> bool:
        return self.head is not None and self.head.status == 101

    @property
    def is_reusable(self) -> bool:
        """Whether the end of this answer leaves the connection fit for another."""
        head = self.head
        is_framed = head is not None and head.is_persistent and head.framing is not Framing.CLOSE
        return is_framed and self.is_complete and not self.has_surplus

    def feed(self, received: bytes) -> bytes:
        """Take what was received and return the body bytes in it, freed of their framing.

        Errors: AnswerMalformed, after which the parser is of no more use.
        """
        while self.head is None and received:
            received = self._take_head(received)
        return self._take_body(received) if received else b""

    def take_interims(self) -> Sequence[AnswerHead]:
        """Take the interim answers that came since they were last taken."""
        interims, self._interims = self._interims, ()
        return interims

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
        """Read a head if it is complete by now, and return what follows it."""
        searched = 0
        if self._pending:
            searched = max(0, len(self._pending) - 3)
            received = self._pending + received
        end = received.find(b"\r\n\r\n", searched) + 4
        if end > 3:
            self._pending = b""
            self._accept(HEADS.read(received[:end], is_to_head=self._is_to_head))
            return received[end:]
        if received[:7] != b"HTTP/1."[: len(received)]:
            raise AnswerMalformed("this is not HTTP/1")
        if len(received) > HEAD_LIMIT_BYTES:
            raise AnswerMalformed("the head is too large")
        self._pending = received
        return b""

    def _accept(self, head: AnswerHead) -> None:
        if head.is_interim:
            if not self._interims_left:
                raise AnswerMalformed("there are too many interim answers")
            self._interims_left -= 1
            self._interims = (*self._interims, head)
            return
        if head.status == 101 and not self._allows_upgrade:
            raise AnswerMalformed("nobody asked for this upgrade")
        self.head = head
        if head.framing is Framing.CHUNKED:
            self._chunks = ChunkedBody()
        elif head.framing is not Framing.CLOSE:
            self._left_bytes = head.length_bytes
            self.is_complete = head.length_bytes == 0

    def _take_body(self, received: bytes) -> bytes:
        if self.is_complete:
            self.has_surplus = True
            return b""
        if self._chunks is not None:
            return self._take_chunks(self._chunks, received)
        if self.head is not None and self.head.framing is Framing.CLOSE:
            return received
        left_bytes = self._left_bytes = self._left_bytes - len(received)
        if left_bytes > 0:
            return received
        self.is_complete = True
        self.has_surplus = left_bytes < 0
        return received[:left_bytes] if left_bytes else received

    def _take_chunks(self, chunks: ChunkedBody, received: bytes) -> bytes:
        try:
            body = chunks.feed(received)
        except ChunksMalformed as malformed:
            raise AnswerMalformed(str(malformed)) from malformed
        self.is_complete = chunks.is_complete
        self.has_surplus = bool(chunks.surplus)
        return body
