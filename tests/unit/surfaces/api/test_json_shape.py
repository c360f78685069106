import json

import pytest

from app.surfaces.api.json_shape import MOST_ESCAPES, MOST_VALUES, has_too_many_values

FEW = MOST_VALUES - 10
MANY = MOST_VALUES + 10
TAKEN = {
    "nothing": "",
    "a text": json.dumps({"content": "x" * 2_000_000}),
    "a text that looks like JSON": json.dumps({"content": '{"a": [1, 2]}, ' * MANY}),
    "texts that look like it": json.dumps({"content": ["[],{},,,"] * 1000}),
    "many values": json.dumps([1] * FEW),
    "many objects": json.dumps([{}] * (FEW // 2)),
    "many fields": json.dumps({f"field{number}": number for number in range(FEW)}),
    "a text with escapes": json.dumps({"content": '",\\' * (MOST_ESCAPES // 3)}),
    "no JSON": "x" * MANY,
}
REFUSED = {
    "values": json.dumps([1] * MANY),
    "empty objects": json.dumps([{}] * MANY),
    "objects": json.dumps({"rows": [{"a": 1}] * MANY}),
    "arrays in arrays": "[" * MANY,
    "empty texts": json.dumps([""] * 3 * MANY),
    "fields": json.dumps({f"field{number}": number for number in range(MANY)}),
    "more escapes than any text": json.dumps({"content": '",' * (MOST_ESCAPES + 1)}),
    "values behind a text": json.dumps({"content": "x" * 1_000_000, "rows": [1] * MANY}),
    "a text without an end": '["' + "," * MANY,
}


@pytest.mark.parametrize("body", TAKEN.values(), ids=TAKEN)
def test_what_makes_few_values_is_decoded(body: str) -> None:
    assert not has_too_many_values(body.encode())


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED)
def test_what_makes_many_is_not(body: str) -> None:
    assert has_too_many_values(body.encode())


@pytest.mark.parametrize("count", [1, 100, MOST_VALUES])
def test_the_count_is_exact_where_it_matters(count: int) -> None:
    texts = ["a,b", '"', "\\", ""]
    values = [texts[number % 4] for number in range(count - 1)]  # and the array itself is one

    assert not has_too_many_values(json.dumps(values).encode())
    assert has_too_many_values(json.dumps([*values, *values, *["x"] * MANY]).encode())
