"""Typed ids: never a bare int or str where a person, a chat or a message is meant."""

from typing import NewType
from uuid import UUID

UserId = NewType("UserId", str)
"""The token's `sub`: opaque, up to 255 characters, no control characters."""

ChatId = NewType("ChatId", int)
MessageId = NewType("MessageId", int)

RunId = NewType("RunId", UUID)
"""A UUIDv7 (RFC 9562 §5.7): ids of one process sort as they were made."""
