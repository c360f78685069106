"""One operation as the front door offers it: at its path there, with the front door's security and refusals.

What an upstream says about its own security, servers, callbacks and identity headers holds behind the door only, and is
left out.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from app.infra.openapi.document import Document, RawOperation, as_node, list_of, text_of
from app.infra.openapi.ports import Entrance, Node, Own, stricter
from app.infra.openapi.references import Carrier
from app.kernel.identity import Access

BEARER, SESSION = "bearer", "session"
SIGNED_IN: tuple[Node, ...] = ({BEARER: []}, {SESSION: []})

_NAMES = re.compile(r"\{([^{}/]+)\}")
_STATUS = re.compile(r"[1-5](?:[0-9]{2}|XX)|default")
_PLACES = frozenset({"path", "query", "header", "cookie"})
_NOT_FOR_CALLERS = re.compile(r"(authorization|forwarded|x-(user|forwarded)-.*)", re.IGNORECASE)
_KEPT = ("deprecated", "externalDocs")


@dataclass(frozen=True, slots=True)
class Source:
    """Where operations come from: an upstream by name, or (None) our own endpoints.

    `stale_since` is when the upstream stopped answering; None while it does.
    """

    upstream: str | None
    document: Document
    stale_since: datetime | None = None

    @property
    def label(self) -> str:
        return self.upstream or ""

    @property
    def staleness(self) -> dict[str, object]:
        if self.stale_since is None:
            return {}
        since = self.stale_since.isoformat(timespec="seconds").replace("+00:00", "Z")
        return {"x-portico-stale": True, "x-portico-stale-since": since}


@dataclass(frozen=True, slots=True)
class Placed:
    """An operation and one way into it."""

    source: Source
    raw: RawOperation
    entrance: Entrance

    @property
    def access(self) -> Access:
        """Who may enter; of our own handlers we know, and believe, that they may ask for more than their row."""
        declared = text_of(self.raw.node, "x-portico-access")
        if self.source.upstream is not None or declared not in Access:
            return self.entrance.access
        return stricter(self.entrance.access, Access(declared))

    @property
    def parts(self) -> tuple[object, ...]:
        """What of the author's words is carried along, for finding the components it needs."""
        item = self.raw.item
        return (*(self.raw.node.get(key) for key in ("requestBody", "responses", "parameters")), item.get("parameters"))


def project(placed: Placed, carrier: Carrier, own: Own, *, id_: str, template: str) -> Node:
    """Describe a placed operation; `template` is its path, with the names that its parameters have there."""
    source, node = placed.source, placed.raw.node
    words = {key: text_of(node, key) or text_of(placed.raw.item, key) for key in ("summary", "description")}
    kept = {key: carrier.carry(node[key]) for key in _KEPT if key in node}
    body = source.document.resolve(node.get("requestBody"))
    return {
        "operationId": id_,
        "tags": _tags(source, node),
        **{key: text for key, text in words.items() if text},
        **kept,
        "parameters": [carrier.carry(one) for one in _parameters(placed, template)],
        **({"requestBody": _with_content(carrier.carry(body))} if body is not None else {}),
        "responses": _responses(placed, carrier, own),
        "security": [] if placed.access is Access.PUBLIC else list(SIGNED_IN),
        "x-portico-access": placed.access.value,
        **({"x-portico-upstream": source.upstream} if source.upstream else {}),
        **source.staleness,
    }


def path_names(template: str) -> list[str]:
    return _NAMES.findall(template)


def shape_of(template: str) -> str:
    """Tell what two templates have in common that differ in their parameters' names only."""
    return _NAMES.sub("{}", template)


def _tags(source: Source, node: Node) -> list[str]:
    if source.upstream is not None:
        return [source.upstream]
    return [tag for tag in list_of(node, "tags") if isinstance(tag, str)]


def _parameters(placed: Placed, template: str) -> Iterator[Node]:
    """Yield the parameters that reach the upstream; those of the path under the names they have in `template`."""
    called = dict(zip(path_names(placed.entrance.path), path_names(template), strict=True))
    for (place, name), node in _described(placed).items():
        whole = node if "schema" in node or "content" in node else {**node, "schema": {}}
        if place != "path":
            yield whole
        elif name in called:
            yield {**whole, "name": called.pop(name), "required": True}
    for name in dict.fromkeys(called.values()):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _described(placed: Placed) -> Mapping[tuple[str, str], Node]:
    """Find what the author describes, the operation's own before what it shares with its path."""
    document, raw = placed.source.document, placed.raw
    found: dict[tuple[str, str], Node] = {}
    for one in (*list_of(raw.item, "parameters"), *list_of(raw.node, "parameters")):
        node = document.resolve(one) or {}
        place, name = text_of(node, "in"), text_of(node, "name")
        if name and place in _PLACES and not (place == "header" and _NOT_FOR_CALLERS.fullmatch(name)):
            found[place, name] = node
    return found


def _responses(placed: Placed, carrier: Carrier, own: Own) -> Node:
    described = placed.raw.node.get("responses")
    found = {
        status: with_description(carrier.carry(node))
        for status, node in (described.items() if isinstance(described, dict) else ())
        if _STATUS.fullmatch(status) and isinstance(node, dict)
    }
    if placed.source.upstream is None:
        return found
    refusals = dict(own.refusals)
    if placed.access is not Access.PUBLIC:
        refusals |= own.token_refusals
    return {**refusals, **found}


def with_description(node: object) -> Node:
    """Give a response the description it must have (OpenAPI 3.1 §4.8.17), unless it is a reference."""
    found = as_node(node)
    return found if "$ref" in found or isinstance(found.get("description"), str) else {**found, "description": ""}


def _with_content(node: object) -> Node:
    found = as_node(node)
    return found if isinstance(found.get("content"), dict) else {**found, "content": {}}
