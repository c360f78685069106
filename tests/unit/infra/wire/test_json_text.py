"""JSON as kept text: everything JSON can say, nothing it cannot, in the size that was promised."""

import json
from types import MappingProxyType
from typing import Any

import pytest

from app.infra.wire.json_text import JsonTooLarge, written


@pytest.mark.parametrize(
    "value",
    [None, True, 1, 1e308, "", "é", "\0", "\ud800", {"a": [1, {"b": None}]}, "\U0001f600"],
    ids=["null", "true", "int", "large", "empty", "accent", "nul", "half a pair", "nested", "astral"],
)
def test_what_is_written_is_read_as_it_was(value: Any) -> None:
    text = written(value, limit_bytes=1000)

    assert json.loads(text) == value
    text.encode()


def test_other_mappings_and_sequences_are_objects_and_arrays() -> None:
    assert written(MappingProxyType({"a": (1, 2)}), limit_bytes=100) == '{"a":[1,2]}'
    assert written(range(3), limit_bytes=100) == "[0,1,2]"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1, 2}, b"x"])
def test_what_is_no_json_is_refused(value: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        written(value, limit_bytes=100)


@pytest.mark.parametrize(
    ("text", "size"), [("x" * 8, 10), ("é" * 4, 10), ("\ud800", 8)], ids=["ascii", "utf-8", "escaped"]
)
def test_bytes_are_counted(text: str, size: int) -> None:
    written(text, limit_bytes=size)
    with pytest.raises(JsonTooLarge, match=f"{size} bytes of JSON, where {size - 1} may be kept"):
        written(text, limit_bytes=size - 1)
