"""What a tool may give back to a model: plain values, of a size that leaves room for the conversation."""

import msgspec
from pydantic_core import from_json, to_json

from app.agents.contract import ToolRefused

LIMIT_BYTES = 64 * 1024


def as_result(value: object) -> object:
    """Turn what a tool returned (text, dataclasses, structs, models, collections) into JSON's own values.

    Errors: ToolRefused when it is too large; ValueError or TypeError when it has no JSON.
    """
    encoded = (
        value.encode("utf-8", "replace")
        if isinstance(value, str)
        else to_json(value, fallback=msgspec.to_builtins, inf_nan_mode="null")
    )
    if len(encoded) > LIMIT_BYTES:
        raise ToolRefused(f"The result has {len(encoded)} bytes; a tool may give back {LIMIT_BYTES}. Ask for less.")
    return value if isinstance(value, str) else from_json(encoded)
