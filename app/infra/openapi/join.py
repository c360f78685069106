"""Join descriptions into one: every operation a route leads to, at its front-door path, under a name of its own.

Pure and deterministic: the same sources give the same bytes. Our own operations come first and keep every name they
have; where two upstreams use one name, each of them is called after its upstream (`agenda_Event`).
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

import msgspec

from app.infra.openapi.document import Document, Pointer, as_node, read_document, text_of
from app.infra.openapi.operations import Joined, Operation, read_operation
from app.infra.openapi.ports import FindEntrances, Node, Own
from app.infra.openapi.projection import BEARER, SESSION, Placed, Source, project, shape_of, with_description
from app.infra.openapi.references import Carrier, reachable

VERSION = "3.1.0"
TOKENS = (
    "A token of the auth service. An agent's run calls in its user's name with one that Portico signs: `iss` is "
    "`portico`, `act` names the agent, and the keys are at `/.well-known/jwks.json`."
)
MAX_JOINED_BYTES = 16 * 1024**2
"""of the operations of one upstream, as what they share is written out in each"""

_NO_NAME = re.compile(r"[^A-Za-z0-9._-]+")

type Names = Mapping[tuple[str | None, Pointer], Pointer]


def join(own: Own, upstreams: Sequence[Source], find: FindEntrances) -> Joined:
    """Join our own description with those of the upstreams.

    Errors: DescriptionUnusable if our own cannot be read.
    Cost: visits every source a few times; call it in a thread.
    """
    first = Source(None, read_document(own.document))
    sources = [first, *sorted(upstreams, key=lambda source: source.label)]
    placed = [one for source in sources for one in _place(source, find)]
    names = _component_names(sources, placed, own)
    board = _Board(own, names, _shared_ids(placed))
    for one in placed:
        board.add(one)
    components = _components(sources, names)
    body = msgspec.json.encode(
        {
            **_frame(first.document),
            "tags": [_tag(source) for source in sources if source.upstream],
            "paths": board.paths,
            "components": {**components, "securitySchemes": _security(own)},
        }
    )
    return Joined(
        body=body,
        etag=f'"{hashlib.sha256(body).hexdigest()[:32]}"',
        operations=tuple(board.operations),
        schemas=components.get("schemas", {}),
        described={source.label: len(source.document.operations) for source in sources if source.upstream},
        cut=frozenset(board.cut),
    )


@dataclass(slots=True)
class _Board:
    """What has been joined so far, and which names are taken."""

    own: Own
    names: Names
    shared_ids: frozenset[str]
    paths: dict[str, dict[str, msgspec.Raw]] = field(default_factory=dict)
    operations: list[Operation] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    bytes_of: Counter[str] = field(default_factory=Counter)
    cut: set[str] = field(default_factory=set)
    templates: dict[str, str] = field(default_factory=dict)

    def add(self, placed: Placed) -> None:
        source, method, access = placed.source, placed.raw.method, placed.access
        if self.bytes_of[source.label] > MAX_JOINED_BYTES:
            self.cut.add(source.label)
            return
        # templates that differ in their parameters' names only are one path (OpenAPI 3.1 §4.8.8.2)
        path = self.templates.setdefault(shape_of(placed.entrance.path), placed.entrance.path)
        item = self.paths.setdefault(path, {})
        if method not in item:
            carrier = _carrier(source, self.names)
            node = project(placed, carrier, self.own, id_=self._take_id(placed), template=path)
            item[method] = msgspec.Raw(msgspec.json.encode(node))
            self.bytes_of[source.label] += len(bytes(item[method]))
            found = read_operation(node, method=method, path=path, access=access, upstream=source.upstream)
            self.operations.append(found)

    def _take_id(self, placed: Placed) -> str:
        id_ = _id_of(placed)
        if placed.source.upstream and id_ in self.shared_ids:
            id_ = f"{placed.source.upstream}_{id_}"
        id_ = _first_free(id_, self.ids)
        self.ids.add(id_)
        return id_


def _place(source: Source, find: FindEntrances) -> Iterator[Placed]:
    for raw in source.document.operations:
        for entrance in find(source.upstream, raw.method.upper(), raw.path):
            yield Placed(source, raw, entrance)


def _id_of(placed: Placed) -> str:
    """Tell the author's id of an operation, or make one of its method and path."""
    id_ = text_of(placed.raw.node, "operationId")
    return id_ or _NO_NAME.sub("_", f"{placed.raw.method}{placed.entrance.path}").strip("_")


def _shared_ids(placed: Iterable[Placed]) -> frozenset[str]:
    return _shared((one.source.upstream, _id_of(one)) for one in placed)


def _shared[T](used: Iterable[tuple[str | None, T]]) -> frozenset[T]:
    """Tell which names more than one source uses."""
    counts = Counter(name for _, name in set(used))
    return frozenset(name for name, count in counts.items() if count > 1)


def _first_free(name: str, taken: Container[str]) -> str:
    if name not in taken:
        return name
    return next(f"{name}_{number}" for number in count(2) if f"{name}_{number}" not in taken)


def _component_names(sources: Sequence[Source], placed: Sequence[Placed], own: Own) -> Names:
    """Give every component that is needed a name of its own: ours theirs, the others theirs while nobody shares it."""
    refusals = (*own.refusals.values(), *own.token_refusals.values())
    needed = []
    for source in sources:
        roots = [part for one in placed if one.source is source for part in one.parts]
        roots += refusals if source.upstream is None else ()
        needed += [(source, pointer) for pointer in sorted(reachable(source.document, roots), key=str)]
    shared = _shared((source.upstream, _plain(pointer)) for source, pointer in needed)
    names: dict[tuple[str | None, Pointer], Pointer] = {}
    taken: dict[str, set[str]] = defaultdict(set)
    for source, pointer in needed:
        plain = _plain(pointer)
        name = (
            f"{_NO_NAME.sub('_', source.upstream)}_{plain.name}" if source.upstream and plain in shared else plain.name
        )
        name = _first_free(name, taken[pointer.section])
        taken[pointer.section].add(name)
        names[source.upstream, pointer] = Pointer(pointer.section, name)
    return names


def _plain(pointer: Pointer) -> Pointer:
    return Pointer(pointer.section, _NO_NAME.sub("_", pointer.name) or "_")


def _carrier(source: Source, names: Names) -> Carrier:
    def rename(pointer: Pointer) -> Pointer | None:
        found = names.get((source.upstream, Pointer(pointer.section, pointer.name)))
        return Pointer(found.section, found.name, pointer.rest) if found else None

    return Carrier(rename, source.document.is_old)


def _components(sources: Iterable[Source], names: Names) -> dict[str, dict[str, Node]]:
    by_upstream = {source.upstream: source for source in sources}
    found: dict[str, dict[str, Node]] = defaultdict(dict)
    for (upstream, pointer), name in names.items():
        source = by_upstream[upstream]
        node = _carrier(source, names).carry(source.document.component(pointer))
        found[name.section][name.name] = with_description(node) if name.section == "responses" else as_node(node)
    return dict(found)


def _frame(document: Document) -> dict[str, object]:
    about = {"title": document.title, "version": document.version, "description": document.description}
    return {"openapi": VERSION, "info": about, "servers": [{"url": "/"}]}


def _tag(source: Source) -> Node:
    words = ": ".join(text for text in (source.document.title, source.document.description) if text)
    return {"name": source.label, "description": words, **source.staleness}


def _security(own: Own) -> Node:
    return {
        BEARER: {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": TOKENS},
        SESSION: {"type": "apiKey", "in": "cookie", "name": own.access_cookie},
    }
