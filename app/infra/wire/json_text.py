r"""JSON as the text that is kept of it, in a size that was promised.

Facts
- PostgreSQL's `json` keeps a document as it was written and takes every escape; `jsonb` refuses `\u0000`.
- Text may hold half a surrogate pair, which UTF-8 cannot say; such a document is written in escapes throughout.
- NaN and the infinities are no JSON (RFC 8259 §6).
"""

import json
from collections.abc import Mapping, Sequence

from app.kernel.values import Json


class JsonTooLarge(ValueError):
    """The document is longer than may be kept."""

    def __init__(self, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(f"{size_bytes} bytes of JSON, where {limit_bytes} may be kept")


def written(value: Json, *, limit_bytes: int) -> str:
    """Errors: JsonTooLarge; ValueError, TypeError for what is no JSON."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)
    try:
        size_bytes = len(text.encode())
    except UnicodeEncodeError:
        text = json.dumps(value, allow_nan=False, separators=(",", ":"), default=_plain)
        size_bytes = len(text)
    if size_bytes > limit_bytes:
        raise JsonTooLarge(size_bytes, limit_bytes)
    return text


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return list(value)
    raise TypeError(f"{type(value).__name__} is no JSON")
