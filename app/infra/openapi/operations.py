"""The operations behind the front door as values: what an agent's tool or an MCP tool is made from.

Schemas are JSON Schema whose references lead into the joined document; `self_contained` makes one that stands alone.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from app.infra.openapi.document import Pointer, as_node, list_of, text_of
from app.infra.openapi.ports import Node
from app.kernel.identity import Access


@dataclass(frozen=True, slots=True)
class Parameter:
    """`place` is path, query, header or cookie."""

    name: str
    place: str
    is_required: bool
    schema: Node
    description: str = ""


@dataclass(frozen=True, slots=True)
class Body:
    """`schemas` by media type, in the order the author prefers them."""

    is_required: bool
    schemas: Mapping[str, Node]


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing a caller may do: `method` in capitals, at `path` of the front door, for who may enter by `access`.

    `id` is unique in the joined document; `upstream` is None for our own. `is_stale` says that the upstream does not
    publish it any more, so that it may have changed or gone.
    """

    id: str
    method: str
    path: str
    access: Access
    upstream: str | None
    summary: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    is_stale: bool = False


@dataclass(frozen=True, slots=True)
class Joined:
    """One description of everything behind the front door: for machines as `body`, for us as `operations`.

    `described` counts, by upstream, the operations it describes; those without a route are not among `operations`.
    `cut` names the upstreams whose operations are too large to be joined all.
    """

    body: bytes = b""
    etag: str = ""
    operations: tuple[Operation, ...] = ()
    schemas: Mapping[str, Node] = field(default_factory=dict)
    described: Mapping[str, int] = field(default_factory=dict)
    cut: frozenset[str] = frozenset()

    def operations_of(self, upstream: str | None) -> Iterator[Operation]:
        return (one for one in self.operations if one.upstream == upstream)


def read_operation(node: Node, *, method: str, path: str, access: Access, upstream: str | None) -> Operation:
    """Read an operation of the joined document, where parameters and body are already in place."""
    return Operation(
        id=text_of(node, "operationId"),
        method=method.upper(),
        path=path,
        access=access,
        upstream=upstream,
        summary=text_of(node, "summary"),
        description=text_of(node, "description"),
        tags=tuple(tag for tag in list_of(node, "tags") if isinstance(tag, str)),
        parameters=tuple(_parameter(as_node(one)) for one in list_of(node, "parameters")),
        body=_body(as_node(node.get("requestBody"))),
        is_stale=node.get("x-portico-stale") is True,
    )


def _parameter(node: Node) -> Parameter:
    schema = node.get("schema")
    if not isinstance(schema, dict):
        contents = (as_node(one).get("schema") for one in as_node(node.get("content")).values())
        schema = next((one for one in contents if isinstance(one, dict)), {})
    name, place = text_of(node, "name"), text_of(node, "in")
    return Parameter(name, place, node.get("required") is True, schema, text_of(node, "description"))


def _body(node: Node) -> Body | None:
    schemas = {media: as_node(as_node(one).get("schema")) for media, one in as_node(node.get("content")).items()}
    return Body(node.get("required") is True, schemas) if schemas else None


def self_contained(schema: Node, schemas: Mapping[str, Node]) -> Node:
    """Make a schema that needs no document around it: what it refers to stands under its `$defs`."""
    waiting: list[str] = []
    moved = as_node(_move(schema, waiting))
    needed: dict[str, object] = {}
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed[name] = _move(schemas.get(name, {}), waiting)
    return {**moved, "$defs": needed} if needed else moved


def _move(node: object, named: list[str]) -> object:
    """Copy a node with its references turned towards `$defs`; add what they name."""
    if isinstance(node, list):
        return [_move(one, named) for one in node]
    if not isinstance(node, dict):
        return node
    copy = {key: _move(value, named) for key, value in node.items() if key != "$ref"}
    pointer = Pointer.read(node.get("$ref"))
    if pointer is not None:
        named.append(pointer.name)
        copy["$ref"] = f"#/$defs/{pointer.name}{pointer.rest}"
    elif "$ref" in node:
        copy["$ref"] = _move(node["$ref"], named)
    return copy
