"""An operation as something that is called with one JSON object: what an agent's tool or an MCP tool is made from.

Pure. Facts
- Names of tools are `[a-zA-Z0-9_-]{1,64}` with every provider of models. An operation's is that of its upstream and its
  own; one that is too long, or that another has too, ends in digits of its method and path, so it stays what it is
  whatever else comes or goes.
- Headers and cookies of an operation are not arguments: what identifies a caller is never a model's to say.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from app.infra.openapi.operations import Joined, Operation, self_contained
from app.infra.openapi.ports import Node
from app.kernel.identity import Access

NAME_LIMIT_CHARS = 64
SCHEMA_LIMIT_BYTES = 16 * 1024
DESCRIPTION_LIMIT_CHARS = 2000
METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
BODY = "body"

_NO_NAME = re.compile(r"[^A-Za-z0-9_-]+")

type Place = Literal["path", "query", "body"]
type Media = Literal["", "json", "form"]


_PLACES: Mapping[str, Place] = {"path": "path", "query": "query"}


class Argument(msgspec.Struct, frozen=True):
    """Where an argument goes, and under which name."""

    place: Place
    name: str


class OperationCall(msgspec.Struct, frozen=True):
    """`path` is a template of the front door; `schema` is the JSON schema of the arguments, and stands alone."""

    name: str
    method: str
    path: str
    upstream: str
    description: str
    schema: dict[str, Any]  # Any: a JSON schema
    arguments: dict[str, Argument]
    media: Media = ""


def calls_of(joined: Joined, groups: Iterable[Access]) -> Sequence[OperationCall]:
    """List what upstreams let somebody of these groups do. Cost: copies the schemas of each; call it in a thread."""
    entered = {Access.PUBLIC, *groups}
    usable = [
        one for one in joined.operations if one.upstream is not None and one.method in METHODS and one.access in entered
    ]
    names = _names(joined.operations)
    calls = (_call(names[one.method, one.path], one, joined.schemas) for one in usable)
    return [call for call in calls if call is not None]


def _names(operations: Iterable[Operation]) -> Mapping[tuple[str, str], str]:
    """Name all there are, so that what a caller may not do changes no name of what he may."""
    plain = {(one.method, one.path): _plain(one) for one in operations if one.upstream is not None}
    shared = Counter(plain.values())
    return {
        key: name if shared[name] == 1 and len(name) <= NAME_LIMIT_CHARS else _told_apart(name, *key)
        for key, name in plain.items()
    }


def _plain(operation: Operation) -> str:
    upstream = _NO_NAME.sub("_", operation.upstream or "")
    id_ = _NO_NAME.sub("_", operation.id).strip("_") or "call"
    return id_ if id_.startswith(f"{upstream}_") else f"{upstream}_{id_}"


def _told_apart(name: str, method: str, path: str) -> str:
    digits = hashlib.sha256(f"{method} {path}".encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{name[: NAME_LIMIT_CHARS - 9]}_{digits}"


def _call(name: str, operation: Operation, schemas: Mapping[str, Node]) -> OperationCall | None:
    """Give the operation as a call; None where its body is of a kind no arguments can be written as."""
    arguments: dict[str, Argument] = {}
    properties: dict[str, Any] = {}
    required: list[str] = []
    for parameter in operation.parameters:
        place = _PLACES.get(parameter.place)
        if place is None:
            continue
        argument = parameter.name if parameter.name not in {*arguments, BODY} else f"{parameter.name}_{place}"
        arguments[argument] = Argument(place, parameter.name)
        properties[argument] = _schema(parameter.schema, schemas, parameter.description)
        if parameter.is_required or place == "path":
            required.append(argument)
    media, body = _body(operation)
    if body is not None and operation.body is not None:
        arguments[BODY] = Argument("body", BODY)
        properties[BODY] = _schema(body, schemas, "")
        if operation.body.is_required:
            required.append(BODY)
    elif operation.body is not None and operation.body.is_required:
        return None
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return OperationCall(
        name=name,
        method=operation.method,
        path=operation.path,
        upstream=operation.upstream or "",
        description=_describe(operation),
        schema=schema,
        arguments=arguments,
        media=media,
    )


def _body(operation: Operation) -> tuple[Media, Node | None]:
    """Choose how the body is sent: JSON before a form."""
    kinds = operation.body.schemas if operation.body else {}
    for media, schema in kinds.items():
        plain = media.partition(";")[0].strip().lower()
        if plain == "application/json" or plain.endswith("+json") or plain == "*/*":
            return "json", schema
    for media, schema in kinds.items():
        if media.partition(";")[0].strip().lower() == "application/x-www-form-urlencoded":
            return "form", schema
    return "", None


def _schema(schema: Node, schemas: Mapping[str, Node], description: str) -> Node:
    """Make a schema stand alone; one that is too large is left to the service to check."""
    whole = self_contained(schema, schemas)
    if len(msgspec.json.encode(whole)) > SCHEMA_LIMIT_BYTES:
        whole = {"description": "Too large to be shown: what does not fit, the service says."}
    return {**whole, "description": description} if description and "description" not in whole else whole


def _describe(operation: Operation) -> str:
    texts = [text.strip() for text in (operation.summary, operation.description) if text.strip()]
    texts = texts[:1] if len(texts) == 2 and texts[0] == texts[1] else texts
    words = "\n\n".join([*texts, f"{operation.method} {operation.path}"])
    return words[:DESCRIPTION_LIMIT_CHARS]
