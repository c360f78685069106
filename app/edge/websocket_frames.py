"""Where WebSocket frames begin and end in a stream of bytes that is passed on unread; no I/O.

Source: RFC 6455 §5.2. Only as much is understood as is needed to speak between two frames: to close a tunnel with a
word instead of a cut.
"""

import os
import struct

CLOSE_POLICY_VIOLATION = 1008
_LENGTH_OF_16 = 126
_LENGTH_OF_64 = 127


class FrameTracker:
    """Feed it one direction of a tunnel. Cost: one step a frame, whatever its size; holds at most one frame's head."""

    __slots__ = ("_head", "_left_bytes", "is_closing")

    def __init__(self) -> None:
        self._head = b""
        self._left_bytes = 0
        self.is_closing = False
        """a close frame went by: nothing may follow it"""

    @property
    def is_between_frames(self) -> bool:
        return not (self._head or self._left_bytes or self.is_closing)

    def feed(self, data: bytes) -> None:
        at, end = 0, len(data)
        while at < end:
            if self._left_bytes:
                step = min(self._left_bytes, end - at)
                self._left_bytes -= step
                at += step
                continue
            missing = _head_bytes(self._head) - len(self._head)
            self._head += data[at : at + missing]
            at += missing
            if len(self._head) == _head_bytes(self._head):
                self._left_bytes = _payload_bytes(self._head)
                self.is_closing |= self._head[0] & 0x0F == 8
                self._head = b""


def _head_bytes(head: bytes) -> int:
    """Tell how long a frame's head is, as far as what is known of it says."""
    if len(head) < 2:
        return 2
    mask_bytes = 4 if head[1] & 0x80 else 0
    length = head[1] & 0x7F
    return 2 + {_LENGTH_OF_16: 2, _LENGTH_OF_64: 8}.get(length, 0) + mask_bytes


def _payload_bytes(head: bytes) -> int:
    length = head[1] & 0x7F
    if length == _LENGTH_OF_16:
        return int.from_bytes(head[2:4])
    if length == _LENGTH_OF_64:
        return int.from_bytes(head[2:10])
    return length


def close_frame(code: int, *, is_masked: bool) -> bytes:
    """Write a close frame; a client's is masked (§5.3)."""
    payload = struct.pack("!H", code)
    if not is_masked:
        return b"\x88\x02" + payload
    mask = os.urandom(4)
    return b"\x88\x82" + mask + bytes(byte ^ mask[number] for number, byte in enumerate(payload))
