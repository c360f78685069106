"""What a tool may give back to a model: plain values, of a size that can be kept."""

import msgspec
from pydantic_core import from_json, to_json

from app.kernel.values import Json

LIMIT_BYTES = 256 * 1024
"""as much is kept of a result; the model sees the beginning, and may read on (`outputs.py`)"""


def as_result(value: object, *, limit_bytes: int = LIMIT_BYTES) -> Json:
    """Turn what a tool returned (text, dataclasses, structs, models, collections) into JSON's own values.

    What is longer than the limit becomes the beginning of its text, and says so at its end.
    Errors: ValueError or TypeError when it has no JSON.
    """
    encoded = (
        value.encode("utf-8", "replace")
        if isinstance(value, str)
        else to_json(value, fallback=msgspec.to_builtins, inf_nan_mode="null")
    )
    if len(encoded) > limit_bytes:
        kept = encoded[:limit_bytes].decode("utf-8", "ignore")
        return f"{kept}\n[cut: the result has {len(encoded)} bytes, {limit_bytes} are kept; ask for less]"
    if isinstance(value, str):
        return value
    clean: Json = from_json(encoded)
    return clean
