"""Where WebSocket frames begin and end in a stream of bytes that is passed on unread; no I/O.

Source: RFC 6455 §5.2. Only as much is understood as is needed to speak between two frames: to close a tunnel with a
word instead of a cut.
"""

import os

CLOSE_GOING_AWAY = 1001
CLOSE_POLICY_VIOLATION = 1008
REASON_LIMIT_BYTES = 123
_LENGTH_OF_16 = 126
_LENGTH_OF_64 = 127
_IS_MASKED = 0x80
_OPCODE = 0x0F
_CLOSE = 0x08


class FrameTracker:
    """Feed it one direction of a tunnel. Cost: one step a frame, whatever its size; holds at most one frame's head."""

    __slots__ = ("_head", "_left_bytes", "is_closing")

    def __init__(self) -> None:
        self._head = b""
        self._left_bytes = 0
        self.is_closing = False
        """a close frame has begun: nothing may follow it"""

    @property
    def is_between_frames(self) -> bool:
        return not (self._head or self._left_bytes or self.is_closing)

    def feed(self, data: bytes) -> None:
        if self._head:
            data, self._head = self._head + data, b""
        at, end = self._left_bytes, len(data)
        while end - at >= 2:
            second = data[at + 1]
            length = second & 0x7F
            payload_at = at + (6 if second & _IS_MASKED else 2)
            if length >= _LENGTH_OF_16:
                wide_bytes = 8 if length == _LENGTH_OF_64 else 2
                payload_at += wide_bytes
                length = int.from_bytes(data[at + 2 : at + 2 + wide_bytes])
            if payload_at > end:
                break
            if data[at] & _OPCODE == _CLOSE:
                self.is_closing = True
            at = payload_at + length
        self._left_bytes = max(0, at - end)
        self._head = data[at:]


def close_frame(code: int, reason: str = "", *, is_masked: bool) -> bytes:
    """Write a close frame; a client's is masked (§5.3). `reason` has up to 123 bytes."""
    payload = code.to_bytes(2) + reason.encode()[:REASON_LIMIT_BYTES]
    if not is_masked:
        return bytes((0x80 | _CLOSE, len(payload))) + payload
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[number % 4] for number, byte in enumerate(payload))
    return bytes((0x80 | _CLOSE, _IS_MASKED | len(payload))) + mask + masked
