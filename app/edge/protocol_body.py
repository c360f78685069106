"""The body of a request, freed of its framing: where it ends is decided here, byte for byte; no I/O."""

from typing import Protocol

from app.edge.chunked import ChunkedBody
from app.edge.faults import RequestTooSlow
from app.edge.pipeline import EdgeOptions
from app.edge.proxy import BodyFraming, declared_bytes
from app.edge.record import Record


class BodyReader(Protocol):
    """What is left to read of one request's body; `surplus` holds what came behind its end."""

    is_complete: bool
    surplus: bytes
    least_left_bytes: int
    """at least so much is still to come"""

    def feed(self, received: bytes) -> bytes:
        """Take what was received and return the body bytes in it. Errors: ChunksMalformed."""
        ...


def body_reader(record: Record, framing: BodyFraming) -> BodyReader | None:
    """Make what reads the body of a request whose framing was checked; None where there is no body."""
    if framing is BodyFraming.NONE:
        return None
    if framing is BodyFraming.CHUNKED:
        return ChunkedBody()
    length_bytes = declared_bytes(record, framing)
    return LengthBody(length_bytes) if length_bytes else None


class LengthBody:
    """A body of a declared length."""

    __slots__ = ("is_complete", "least_left_bytes", "surplus")

    def __init__(self, length_bytes: int) -> None:
        self.least_left_bytes = length_bytes
        self.is_complete = length_bytes == 0
        self.surplus = b""

    def feed(self, received: bytes) -> bytes:
        left_bytes = self.least_left_bytes
        if len(received) < left_bytes:
            self.least_left_bytes = left_bytes - len(received)
            return received
        self.least_left_bytes = 0
        self.is_complete = True
        self.surplus = received[left_bytes:]
        return received[:left_bytes] if self.surplus else received


class EndlessBody:
    """What comes after a connection was upgraded: all of it, as it comes."""

    __slots__ = ("is_complete", "least_left_bytes", "surplus")

    def __init__(self) -> None:
        self.is_complete = False
        self.least_left_bytes = 0
        self.surplus = b""

    def feed(self, received: bytes) -> bytes:
        return received


def slowness(came_bytes: int, options: EdgeOptions) -> RequestTooSlow | None:
    """Judge what came of a body in `body_idle_s` seconds."""
    if came_bytes == 0:
        return RequestTooSlow(f"No byte of the body came for {options.body_idle_s:g} s.")
    if came_bytes < options.body_idle_s * options.body_min_bytes_per_s:
        return RequestTooSlow(f"The body came with less than {options.body_min_bytes_per_s} bytes a second.")
    return None
