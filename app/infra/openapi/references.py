"""Carry parts of one document into another: references follow their components' new names, OpenAPI 3.0 becomes 3.1.

Facts
- A reference is a `$ref` whose value is text; a property may be called `$ref`, too, and then its value is a schema.
- What stands under `example`, `default`, `enum` or `const` is a value, not part of the description, whatever it holds;
  under `properties`, `responses` and the like the keys are names, so that `default` may be one.
- `discriminator.mapping` names schemas by reference or by bare name (OpenAPI 3.1 §4.8.25).
- In OpenAPI 3.0 `nullable` and boolean `exclusiveMinimum` stand where JSON Schema has a type and a number.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from app.infra.openapi.document import Document, Pointer, as_node
from app.infra.openapi.ports import Node

type Rename = Callable[[Pointer], Pointer | None]

_VALUES = frozenset({"example", "default", "enum", "const", "value"})
_NAMED_SCHEMAS = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_NAMED = _NAMED_SCHEMAS | {"responses", "content", "headers", "examples", "encoding"}
_LEFT_OUT = frozenset({"links", "callbacks"})
"""They would name operations and URLs as only the upstream knows them."""


def reachable(document: Document, roots: Iterable[object]) -> set[Pointer]:
    """Find every component that the roots lead to, directly or through others; circles end where they began."""
    found: set[Pointer] = set()
    waiting = [pointer for root in roots for pointer in _pointers(root)]
    while waiting:
        pointer = waiting.pop()
        component = document.component(pointer)
        if component is not None and pointer not in found:
            found.add(pointer)
            waiting.extend(_pointers(component))
    return found


def _pointers(root: object) -> Iterator[Pointer]:
    """Yield more rather than less: a mapping's bare names are tried, and so is what only looks like a reference."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting.extend(node)
        elif isinstance(node, dict):
            waiting.extend(node.values())
            shown = (node.get("$ref"), *as_node(node.get("mapping")).values())
            for text in shown:
                pointer = _pointer(text)
                if pointer is not None:
                    yield Pointer(pointer.section, pointer.name)


def _pointer(text: object) -> Pointer | None:
    if not isinstance(text, str):
        return None
    return Pointer.read(text) or (Pointer("schemas", text) if "/" not in text else None)


@dataclass(frozen=True, slots=True)
class Carrier:
    """Copies nodes of one document; `rename` says what a component is called there, None that it does not go along."""

    rename: Rename
    is_old: bool

    def carry(self, node: object) -> object:
        """Copy a part of a description; a reference that leads nowhere becomes an object that allows everything."""
        if isinstance(node, list):
            return [self.carry(one) for one in node]
        if not isinstance(node, dict):
            return node
        copy: dict[str, object] = {key: self._value(key, value) for key, value in node.items() if key not in _LEFT_OUT}
        if isinstance(node.get("$ref"), str):
            copy = self._refer(copy)
        return _as_json_schema(copy) if self.is_old else copy

    def _value(self, key: str, value: object) -> object:
        if key in _VALUES or key.startswith("x-") or (key == "examples" and isinstance(value, list)):
            return value
        if key in _NAMED and isinstance(value, dict):
            return {name: self.carry(one) for name, one in value.items() if isinstance(one, dict | bool)}
        if key == "discriminator" and isinstance(value, dict):
            return self._discriminator(value)
        return self.carry(value)

    def _refer(self, copy: dict[str, object]) -> dict[str, object]:
        pointer = Pointer.read(copy.pop("$ref"))
        renamed = self.rename(pointer) if pointer else None
        return {"$ref": str(renamed), **copy} if renamed else copy

    def _discriminator(self, node: Node) -> Node:
        mapping = {value: _pointer(shown) for value, shown in as_node(node.get("mapping")).items()}
        renamed = {value: self.rename(pointer) for value, pointer in mapping.items() if pointer}
        shown = {value: str(pointer) for value, pointer in renamed.items() if pointer}
        rest = {key: value for key, value in node.items() if key != "mapping"}
        return {**rest, "mapping": shown} if shown else rest


def _as_json_schema(node: dict[str, object]) -> dict[str, object]:
    """Say in JSON Schema what a schema of OpenAPI 3.0 says in words of its own."""
    for limit, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        is_exclusive = node.get(exclusive)
        if isinstance(is_exclusive, bool):
            del node[exclusive]
            if is_exclusive and limit in node:
                node[exclusive] = node.pop(limit)
    if not isinstance(node.get("nullable"), bool) or not node.pop("nullable"):
        return node
    kind = node.get("type")
    if not isinstance(kind, str):
        return {"anyOf": [node, {"type": "null"}]} if node else node
    choices = node.get("enum")
    nullable: dict[str, object] = {"type": [kind, "null"]}
    if isinstance(choices, list) and None not in choices:
        nullable["enum"] = [*choices, None]
    return {**node, **nullable}
