"""Read a description that somebody else wrote: bounded in size, depth and number, and believed in nothing.

What is not an object where one must be is left out; only a document that is no OpenAPI 3 at all is refused.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

import msgspec

from app.infra.openapi.ports import DescriptionUnusable, Node

LIMIT_BYTES = 4 * 1024**2
MAX_DEPTH = 100
MAX_NODES = 400_000
MAX_OPERATIONS = 2_000
MAX_PATH_CHARACTERS = 1_000
METHODS = ("get", "put", "post", "delete", "options", "head", "patch")
SECTIONS = ("schemas", "responses", "parameters", "examples", "requestBodies", "headers")

_LOCAL = re.compile(r"#/components/(\w+)/([^/]+)(/.*)?", re.DOTALL)
_MAX_HOPS = 8


@dataclass(frozen=True, slots=True)
class Pointer:
    """Where a reference leads: a component, and what of it."""

    section: str
    name: str
    rest: str = ""

    @classmethod
    def read(cls, reference: object) -> "Pointer | None":
        """Read a reference into the same document's components; anything else leads nowhere we follow."""
        found = _LOCAL.fullmatch(reference) if isinstance(reference, str) else None
        if found is None or found[1] not in SECTIONS:
            return None
        return cls(found[1], unquote(found[2]).replace("~1", "/").replace("~0", "~"), found[3] or "")

    def __str__(self) -> str:
        name = self.name.replace("~", "~0").replace("/", "~1")
        return f"#/components/{self.section}/{name}{self.rest}"


@dataclass(frozen=True, slots=True)
class RawOperation:
    """One operation as its author describes it; `path` is the path the upstream is asked for, `item` what it shares."""

    method: str
    path: str
    item: Node
    node: Node


@dataclass(frozen=True, slots=True)
class Document:
    """`is_old` says OpenAPI 3.0, whose schemas are not yet JSON Schema."""

    title: str
    description: str
    version: str
    is_old: bool
    operations: tuple[RawOperation, ...]
    components: Mapping[str, Mapping[str, Node]]

    def component(self, pointer: Pointer) -> Node | None:
        return None if pointer.rest else self.components.get(pointer.section, {}).get(pointer.name)

    def resolve(self, node: object) -> Node | None:
        """Follow a reference in place of an object, a few hops far; None when it leads nowhere."""
        for _ in range(_MAX_HOPS):
            if not isinstance(node, dict):
                return None
            if "$ref" not in node:
                return node
            pointer = Pointer.read(node["$ref"])
            node = self.component(pointer) if pointer else None
        return None


def read_document(body: bytes) -> Document:
    """Read an OpenAPI 3 document. Errors: DescriptionUnusable.

    Cost: at most LIMIT_BYTES to decode and MAX_NODES to visit; still, call it in a thread.
    """
    root = _decode(body)
    version = root.get("openapi")
    if not isinstance(version, str) or not version.startswith("3."):
        raise DescriptionUnusable(_what_instead(root))
    _check_size(root)
    about = as_node(root.get("info"))
    return Document(
        title=text_of(about, "title"),
        description=text_of(about, "description"),
        version=text_of(about, "version"),
        is_old=version.startswith("3.0"),
        operations=tuple(_operations(root)),
        components=_components(as_node(root.get("components"))),
    )


def as_node(value: object) -> Node:
    return value if isinstance(value, dict) else {}


def text_of(node: Node, key: str) -> str:
    value = node.get(key)
    return value if isinstance(value, str) else ""


def list_of(node: Node, key: str) -> list[object]:
    value = node.get(key)
    return value if isinstance(value, list) else []


def _decode(body: bytes) -> Node:
    if len(body) > LIMIT_BYTES:
        raise DescriptionUnusable(f"is larger than {LIMIT_BYTES} bytes")
    try:
        root = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DescriptionUnusable("is not JSON in UTF-8") from error
    except RecursionError as error:
        raise DescriptionUnusable("is nested too deeply") from error
    if not isinstance(root, dict):
        raise DescriptionUnusable("is not a JSON object")
    return root


def _what_instead(root: Node) -> str:
    if "swagger" in root:
        return "is Swagger 2, which is not merged; publish OpenAPI 3"
    return "is not OpenAPI 3: it has no such version"


def _check_size(root: Node) -> None:
    level: list[object] = [root]
    count = 0
    for _ in range(MAX_DEPTH):
        count += len(level)
        if count > MAX_NODES:
            raise DescriptionUnusable(f"holds more than {MAX_NODES} values")
        level = [inner for value in level for inner in _inside(value)]
        if not level:
            return
    raise DescriptionUnusable(f"is nested deeper than {MAX_DEPTH} levels")


def _inside(value: object) -> Iterator[object]:
    """Yield what a value holds, or nothing for what holds nothing."""
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _components(node: Node) -> Mapping[str, Mapping[str, Node]]:
    return {
        section: {name: one for name, one in as_node(node.get(section)).items() if isinstance(one, dict)}
        for section in SECTIONS
    }


def _operations(root: Node) -> Iterator[RawOperation]:
    items = as_node(as_node(root.get("components")).get("pathItems"))
    count = 0
    for path, shown in as_node(root.get("paths")).items():
        item = _path_item(as_node(shown), items)
        for method in METHODS:
            node = item.get(method)
            if not isinstance(node, dict):
                continue
            count += 1
            if count > MAX_OPERATIONS:
                raise DescriptionUnusable(f"describes more than {MAX_OPERATIONS} operations")
            whole = _base(node, item, root) + path
            if path.startswith("/") and len(whole) <= MAX_PATH_CHARACTERS:
                yield RawOperation(method, whole, item, node)


def _path_item(item: Node, shared: Node) -> Node:
    reference = item.get("$ref")
    if not isinstance(reference, str):
        return item
    return {**as_node(shared.get(reference.removeprefix("#/components/pathItems/"))), **item}


def _base(operation: Node, item: Node, root: Node) -> str:
    """Tell the path that goes before the described ones: that of the nearest `servers`, the first of them."""
    servers = next((found for node in (operation, item, root) if (found := list_of(node, "servers"))), [])
    server = as_node(servers[0]) if servers else {}
    url = text_of(server, "url")[:MAX_PATH_CHARACTERS]
    for name, variable in list(as_node(server.get("variables")).items())[:MAX_DEPTH]:
        url = url.replace(f"{{{name}}}", text_of(as_node(variable), "default"))[:MAX_PATH_CHARACTERS]
    try:
        path = urlsplit(url).path.rstrip("/")
    except ValueError:
        return ""
    return path if path.startswith("/") else f"/{path}" if path else ""
