"""Typed ids: never a bare int or str where a person, a chat or a message is meant."""

from typing import NewType

UserId = NewType("UserId", str)
"""The token's `sub`: opaque, up to 255 characters, no control characters."""

MAX_ID = 2**63 - 1
"""PostgreSQL's bigint: no chat and no message can have a higher one"""

ChatId = NewType("ChatId", int)
MessageId = NewType("MessageId", int)
