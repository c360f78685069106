"""What of a conversation in the model library's words fits into a window: values, no decision about the model."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from pydantic_ai.messages import BinaryContent, ModelMessage, ModelRequest, ToolReturnPart, UserPromptPart
from pydantic_core import to_json

from app.agents.llm.window import MESSAGE_TOKENS, estimate_binary, estimate_tokens


def shorten(messages: list[ModelMessage], *, limit_tokens: int) -> list[ModelMessage]:
    """Leave out the oldest whole turns before the present one, as many as it takes; never what is no turn's.

    A turn is a question with everything up to the next, so a tool's call and its result go or stay together.
    """
    total = tokens_of_messages(messages)
    borders = [at for at, message in enumerate(messages) if has_question(message)]
    dropped: set[int] = set()
    for start, end in pairwise(borders):
        if total <= limit_tokens:
            break
        turn = [at for at in range(start, end) if at == start or not _is_standing(messages[at])]
        total -= tokens_of_messages([messages[at] for at in turn])
        dropped |= set(turn)
    return [message for at, message in enumerate(messages) if at not in dropped] if dropped else messages


def has_question(message: ModelMessage) -> bool:
    return isinstance(message, ModelRequest) and any(isinstance(part, UserPromptPart) for part in message.parts)


def _is_standing(message: ModelMessage) -> bool:
    return isinstance(message, ModelRequest) and all(part.part_kind == "system-prompt" for part in message.parts)


def tokens_of_messages(messages: Iterable[ModelMessage]) -> int:
    return sum(_tokens_of(message) for message in messages)


def _tokens_of(message: ModelMessage) -> int:
    total = MESSAGE_TOKENS + estimate_tokens(getattr(message, "instructions", None) or "")
    parts: Sequence[object] = message.parts
    for part in parts:
        content = part.model_response_str() if isinstance(part, ToolReturnPart) else getattr(part, "content", None)
        pieces: Sequence[object] = [content]
        if isinstance(part, UserPromptPart) and not isinstance(part.content, str):
            pieces = part.content
        total += sum(_tokens_of_piece(piece) for piece in pieces)
        total += estimate_tokens(str(getattr(part, "args", None) or ""))
    return total


def _tokens_of_piece(content: object) -> int:
    if isinstance(content, BinaryContent):
        return estimate_binary(content.media_type, len(content.data))
    return estimate_tokens(content if isinstance(content, str) else to_json(content, fallback=repr).decode())
