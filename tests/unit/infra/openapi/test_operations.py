"""Operations as values: what a tool is made from."""

import pytest

from app.infra.openapi.operations import self_contained
from app.infra.openapi.ports import Node
from tests.unit.infra.openapi.parts import a_source, joined, ref


def test_a_schema_stands_alone_with_what_it_refers_to() -> None:
    schemas: dict[str, Node] = {
        "Tree": {"properties": {"children": {"items": ref("Tree")}, "owner": ref("Person/properties/name")}},
        "Person": {"properties": {"name": {"type": "string"}}},
        "Other": {},
    }

    alone = self_contained({"anyOf": [ref("Tree"), {"type": "null"}]}, schemas)

    assert alone == {
        "anyOf": [{"$ref": "#/$defs/Tree"}, {"type": "null"}],
        "$defs": {
            "Tree": {
                "properties": {
                    "children": {"items": {"$ref": "#/$defs/Tree"}},
                    "owner": {"$ref": "#/$defs/Person/properties/name"},
                }
            },
            "Person": {"properties": {"name": {"type": "string"}}},
        },
    }


def test_a_schema_that_refers_to_nothing_stays_as_it_is() -> None:
    assert self_contained({"type": "integer"}, {}) == {"type": "integer"}


def test_a_long_chain_of_schemas_is_followed_to_its_end() -> None:
    chain = {f"S{n}": {"items": ref(f"S{n + 1}")} for n in range(5000)}

    alone = self_contained(ref("S0"), chain)

    assert len(alone["$defs"]) == 5001  # type: ignore[arg-type] # a mapping, as just made


@pytest.mark.parametrize(
    ("node", "schema"),
    [
        ({"schema": {"type": "integer"}}, {"type": "integer"}),
        ({"content": {"application/json": {"schema": {"type": "object"}}}}, {"type": "object"}),
        ({}, {}),
        ({"schema": 5}, {}),
    ],
)
def test_a_parameter_has_the_schema_its_author_gave(node: dict[str, object], schema: object) -> None:
    found = joined(a_source("a", {"/x": {"get": {"parameters": [{"name": "n", "in": "query", **node}]}}}))

    assert found.operations[0].parameters[0].schema == schema
