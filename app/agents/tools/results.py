"""What a tool may give back to a model: plain values, of a size that can be kept."""

import msgspec
from pydantic_core import from_json, to_json

from app.kernel.values import Json

LIMIT_BYTES = 256 * 1024
"""as much is kept of a result; the model sees the beginning, and may read on (`outputs.py`)"""


def as_result(value: object) -> Json:
    """Turn what a tool returned (text, dataclasses, structs, models, collections) into JSON's own values.

    What is longer than LIMIT_BYTES becomes the beginning of its text, and says so at its end.
    Errors: ValueError or TypeError when it has no JSON.
    """
    encoded = (
        value.encode("utf-8", "replace")
        if isinstance(value, str)
        else to_json(value, fallback=msgspec.to_builtins, inf_nan_mode="null")
    )
    if len(encoded) > LIMIT_BYTES:
        kept = encoded[:LIMIT_BYTES].decode("utf-8", "ignore")
        return f"{kept}\n[cut: the result has {len(encoded)} bytes, {LIMIT_BYTES} are kept; ask for less]"
    if isinstance(value, str):
        return value
    clean: Json = from_json(encoded)
    return clean
