"""Our tools as the model library sees them."""

from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
import pytest
from pydantic import Field

from app.agents.contract import ToolContext
from app.agents.tools.binding import bind
from app.agents.tools.results import LIMIT_BYTES, as_result


async def look_up(
    ctx: ToolContext, order_id: Annotated[int, Field(ge=1)], kind: Literal["new", "old"] = "new", *, deep: bool = False
) -> str:
    """Look an order up.

    Args:
        order_id: the number on the receipt.
    """
    return f"{order_id} {kind} {deep}"


def test_the_signature_is_the_schema_and_the_docstring_the_description() -> None:
    tool = bind(look_up)

    schema = tool.parameters
    assert tool.name == "look_up"
    assert tool.description == "Look an order up."
    assert schema["required"] == ["order_id"]
    assert schema["properties"]["order_id"] == {
        "type": "integer",
        "minimum": 1,
        "description": "the number on the receipt.",
    }
    assert schema["properties"]["kind"]["enum"] == ["new", "old"]
    assert list(schema["properties"]) == ["order_id", "kind", "deep"]


async def exotic(ctx: ToolContext) -> msgspec.Raw:
    """Return what pydantic has no schema for."""
    return msgspec.Raw(b"1")


def test_what_a_tool_returns_needs_no_schema() -> None:
    assert bind(exotic).name == "exotic"


class Order(msgspec.Struct):
    id: int


@dataclass(frozen=True, slots=True)
class Line:
    order: Order
    amount: float


@pytest.mark.parametrize(
    ("value", "result"),
    [
        ("text", "text"),
        (None, None),
        (Order(3), {"id": 3}),
        ([Line(Order(3), 1.5)], [{"order": {"id": 3}, "amount": 1.5}]),
        ({"a": {1}}, {"a": [1]}),
    ],
    ids=["text", "none", "struct", "dataclass", "set"],
)
def test_a_result_becomes_plain_values(value: object, result: object) -> None:
    assert as_result(value) == result


@pytest.mark.parametrize("value", ["x" * (LIMIT_BYTES + 1), ["x"] * LIMIT_BYTES], ids=["text", "list"])
def test_a_result_that_is_too_large_is_cut_and_says_so(value: object) -> None:
    result = as_result(value)

    assert isinstance(result, str)
    assert len(result) < LIMIT_BYTES + 200
    assert result.endswith("ask for less]")


def test_a_result_without_json_is_an_error() -> None:
    with pytest.raises((TypeError, ValueError)):
        as_result(object())
