"""Parts of one document in another: references keep their meaning, values stay what they are."""

import json

import pytest

from app.infra.openapi.document import Document, Pointer, read_document
from app.infra.openapi.references import Carrier, reachable


def schema_pointer(name: str) -> dict[str, object]:
    return {"$ref": f"#/components/schemas/{name}"}


def a_document(**schemas: object) -> Document:
    return read_document(json.dumps({"openapi": "3.1.0", "components": {"schemas": schemas}}).encode())


def rename(pointer: Pointer) -> Pointer | None:
    return None if pointer.name == "Gone" else Pointer(pointer.section, f"a_{pointer.name}", pointer.rest)


CARRIER = Carrier(rename, is_old=False)
OLD_CARRIER = Carrier(rename, is_old=True)


def test_what_is_needed_is_found_through_circles() -> None:
    document = a_document(
        A={"properties": {"b": schema_pointer("B")}},
        B={"items": schema_pointer("A"), "x": schema_pointer("Missing")},
        C={},
    )

    found = reachable(document, [{"schema": schema_pointer("A")}, None, 5])

    assert found == {Pointer("schemas", "A"), Pointer("schemas", "B")}


def test_the_schemas_that_a_discriminator_names_are_needed() -> None:
    document = a_document(Cat={}, Dog={}, Owl={})
    node = {"discriminator": {"propertyName": "kind", "mapping": {"c": "#/components/schemas/Cat", "d": "Dog"}}}

    assert {pointer.name for pointer in reachable(document, [node])} == {"Cat", "Dog"}


@pytest.mark.parametrize(
    ("node", "carried"),
    [
        (schema_pointer("A"), schema_pointer("a_A")),
        (schema_pointer("A/properties/b"), schema_pointer("a_A/properties/b")),
        ({**schema_pointer("A"), "description": "d"}, {**schema_pointer("a_A"), "description": "d"}),
        (schema_pointer("Gone"), {}),
        ({"$ref": "https://there.test/x", "description": "d"}, {"description": "d"}),
        ({"properties": {"$ref": {"type": "string"}}}, {"properties": {"$ref": {"type": "string"}}}),
        ({"properties": {"default": schema_pointer("A")}}, {"properties": {"default": schema_pointer("a_A")}}),
        ({"default": schema_pointer("A")}, {"default": schema_pointer("A")}),
        ({"enum": [schema_pointer("A")]}, {"enum": [schema_pointer("A")]}),
        ({"examples": [schema_pointer("A")]}, {"examples": [schema_pointer("A")]}),
        ({"examples": {"one": {"value": schema_pointer("A")}}}, {"examples": {"one": {"value": schema_pointer("A")}}}),
        ({"x-note": schema_pointer("A")}, {"x-note": schema_pointer("A")}),
        ({"allOf": [schema_pointer("A"), True]}, {"allOf": [schema_pointer("a_A"), True]}),
        ({"responses": {"default": schema_pointer("A")}}, {"responses": {"default": schema_pointer("a_A")}}),
        ({"links": {"a": {}}, "callbacks": {}}, {}),
        (
            {"discriminator": {"propertyName": "k", "mapping": {"a": "A", "g": "Gone", "n": 5}}},
            {"discriminator": {"propertyName": "k", "mapping": {"a": "#/components/schemas/a_A"}}},
        ),
        ({"nullable": True, "type": "string"}, {"nullable": True, "type": "string"}),
    ],
)
def test_a_part_is_carried_with_its_references_renamed(node: object, carried: object) -> None:
    assert CARRIER.carry(node) == carried


@pytest.mark.parametrize(
    ("node", "carried"),
    [
        ({"type": "string", "nullable": True}, {"type": ["string", "null"]}),
        ({"type": "string", "nullable": False}, {"type": "string"}),
        ({"type": "string", "nullable": True, "enum": ["a"]}, {"type": ["string", "null"], "enum": ["a", None]}),
        ({**schema_pointer("A"), "nullable": True}, {"anyOf": [schema_pointer("a_A"), {"type": "null"}]}),
        ({"nullable": True}, {}),
        ({"minimum": 1, "exclusiveMinimum": True}, {"exclusiveMinimum": 1}),
        ({"maximum": 9, "exclusiveMaximum": False}, {"maximum": 9}),
        (
            {"properties": {"a": {"type": "integer", "nullable": True}}},
            {"properties": {"a": {"type": ["integer", "null"]}}},
        ),
        ({"properties": {"nullable": {"type": "boolean"}}}, {"properties": {"nullable": {"type": "boolean"}}}),
    ],
)
def test_openapi_3_0_becomes_json_schema(node: object, carried: object) -> None:
    assert OLD_CARRIER.carry(node) == carried


def test_what_is_carried_from_is_left_as_it_was() -> None:
    node = {"type": "string", "nullable": True, "properties": {"a": schema_pointer("A")}}
    before = json.dumps(node)

    OLD_CARRIER.carry(node)

    assert json.dumps(node) == before
