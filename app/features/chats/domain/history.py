"""Which earlier messages a model gets to see: the newest that fit, cut where a turn begins."""

from collections.abc import Sequence

from app.features.chats.domain.message import MessageRole, Said

HISTORY_LIMIT_MESSAGES = 200
HISTORY_LIMIT_BYTES = 256 * 1024


def trim_history(
    messages: Sequence[Said],
    *,
    limit_messages: int = HISTORY_LIMIT_MESSAGES,
    limit_bytes: int = HISTORY_LIMIT_BYTES,
) -> Sequence[Said]:
    """Keep the longest end of `messages` that is within both limits and starts with a turn.

    A turn starts with a user's message, or with the system's messages right before it, so that no model sees an
    answer without its question.

    Shapes: oldest first, in and out; bytes are those of UTF-8.
    """
    start = len(messages)
    size_bytes = 0
    for index in range(len(messages) - 1, -1, -1):
        message = messages[index]
        size_bytes += len(message.content.encode())
        if size_bytes > limit_bytes or len(messages) - index > limit_messages:
            break
        is_before_turn = message.role is MessageRole.SYSTEM and start == index + 1
        if message.role is MessageRole.USER or is_before_turn:
            start = index
    return messages[start:]
