"""Typed ids: never a bare int or str where a person, a chat or a message is meant."""

import secrets
import threading
import time
from typing import NewType
from uuid import UUID

UserId = NewType("UserId", str)
"""The token's `sub`: opaque, up to 255 characters, no control characters."""

RESERVED = "portico:"
"""begins the names that work and spend here and that nobody logs in under: no token may have such a `sub`"""

MAX_ID = 2**63 - 1
"""PostgreSQL's bigint: no chat and no message can have a higher one"""

ChatId = NewType("ChatId", int)
MessageId = NewType("MessageId", int)

RunId = NewType("RunId", UUID)
"""A UUIDv7 (RFC 9562 §5.7): ids of one process sort as they were made."""

TaskId = NewType("TaskId", UUID)
"""A UUIDv7, of the same count."""

ApprovalId = NewType("ApprovalId", UUID)

NotificationId = NewType("NotificationId", UUID)

KeyId = NewType("KeyId", UUID)
"""Of an API key: a UUIDv7, of the same count."""

AttachmentId = NewType("AttachmentId", UUID)
"""A UUIDv7, of the same count."""

_COUNTER_BITS = 12
_lock = threading.Lock()
_last_tick = 0


def new_run_id(*, after: RunId | None = None) -> RunId:
    """Make an id that sorts behind every id this process made before, and behind `after`.

    The milliseconds and the twelve bits behind them are counted on as one number ("tick") where the clock stands still
    or goes back (RFC 9562 §6.2, method 1 with a re-randomised tail).
    """
    global _last_tick  # noqa: PLW0603 one counter a process is the point
    with _lock:
        floor = _last_tick if after is None else max(_last_tick, _tick_of(after))
        tick = max((time.time_ns() // 1_000_000) << _COUNTER_BITS, floor + 1)
        _last_tick = tick
    ms, counter = tick >> _COUNTER_BITS, tick & ((1 << _COUNTER_BITS) - 1)
    return RunId(UUID(int=ms << 80 | 0x7 << 76 | counter << 64 | 0b10 << 62 | secrets.randbits(62)))


def _tick_of(run_id: RunId) -> int:
    return (run_id.int >> 80) << _COUNTER_BITS | (run_id.int >> 64) & ((1 << _COUNTER_BITS) - 1)
