"""What PostgreSQL can keep of what people send; checked here, so that a refusal is a 400 and never a driver error.

Facts
- text and json refuse U+0000 (PostgreSQL documentation, "Character Types" and "JSON Types").
- UTF-8 has no lone surrogates (RFC 3629 §3), though a Python string may hold them.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence

from app.kernel.values import Json

JSON_LIMIT_DEPTH = 32
_WHOLE_NUMBERS = range(-(2**63), 2**63)
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def text_problem(text: str, *, at_least: int, at_most: int) -> str | None:
    """Say in words why `text` cannot be kept; lengths are in characters. None when it can."""
    if not at_least <= len(text) <= at_most:
        return f"must have {at_least} to {at_most} characters"
    if _UNSTORABLE.search(text):
        return "must not hold U+0000 or half of a surrogate pair"
    return None


def json_problem(value: Mapping[str, object], *, limit_bytes: int) -> str | None:
    """Say in words why a JSON object cannot be kept; None when it can.

    Cost: O(`limit_bytes`), since each part takes a byte at least; depth is bounded before anything recurses into it.
    """
    too_large = f"must have at most {limit_bytes} bytes"
    for count, (depth, part) in enumerate(_parts(value)):
        if count > limit_bytes or (isinstance(part, Mapping | list) and len(part) > limit_bytes):
            return too_large
        if depth > JSON_LIMIT_DEPTH:
            return f"must not be nested deeper than {JSON_LIMIT_DEPTH}"
        if isinstance(part, str) and _UNSTORABLE.search(part):
            return "must not hold U+0000 or half of a surrogate pair"
        if isinstance(part, int) and part not in _WHOLE_NUMBERS:
            return "must hold whole numbers of at most 64 bits"
        if isinstance(part, float) and not math.isfinite(part):
            return "must hold finite numbers"
    size_bytes = len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
    return too_large if size_bytes > limit_bytes else None


def storable_text(text: str) -> str:
    """Make what a program wrote storable: what cannot be kept becomes U+FFFD."""
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def storable_json(value: Json) -> Json:
    """Do the same with every text of what a program wrote, keys included."""
    match value:
        case str():
            return storable_text(value)
        case Mapping():
            return {storable_text(key): storable_json(inner) for key, inner in value.items()}
        case Sequence():
            return [storable_json(inner) for inner in value]
        case _:
            return value


def _parts(value: object) -> Iterator[tuple[int, object]]:
    """Walk everything in a JSON value, keys included, with its depth, without recursion."""
    waiting: list[tuple[int, object]] = [(0, value)]
    while waiting:
        depth, part = waiting.pop()
        yield depth, part
        if isinstance(part, Mapping):
            waiting += [(depth + 1, inner) for pair in part.items() for inner in pair]
        elif isinstance(part, list):
            waiting += [(depth + 1, inner) for inner in part]
