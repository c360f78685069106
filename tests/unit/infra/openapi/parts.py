"""Descriptions in a few words, and a front door that lets them all in."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from app.infra.openapi.document import read_document
from app.infra.openapi.join import join
from app.infra.openapi.operations import Joined
from app.infra.openapi.ports import Entrance, Own
from app.infra.openapi.projection import Source
from app.kernel.identity import Access

# Any: a JSON document, whose shape is what the tests are about
type Json = dict[str, Any]

PROBLEM: Json = {"type": "object", "properties": {"title": {"type": "string"}}}
TO_PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}


def ref(name: str, section: str = "schemas") -> dict[str, str]:
    return {"$ref": f"#/components/{section}/{name}"}


def answering(name: str) -> Json:
    """An operation that answers with a component."""
    return {"responses": {"200": {"description": "ok", "content": {"application/json": {"schema": ref(name)}}}}}


def a_body(paths: object, *, openapi: str = "3.1.0", **root: object) -> bytes:
    return json.dumps({"openapi": openapi, "info": {"title": "One", "version": "1"}, "paths": paths, **root}).encode()


def a_source(name: str, paths: object, *, stale_since: datetime | None = None, **root: object) -> Source:
    return Source(name, read_document(a_body(paths, **root)), stale_since)  # type: ignore[arg-type] # more of the root


def an_own(paths: object = None, **schemas: object) -> Own:
    return Own(
        document=a_body(paths or {}, components={"schemas": {"Problem": PROBLEM, **schemas}}),
        access_cookie="pg_access_token",
        refusals={"502": {"description": "broken", "content": TO_PROBLEM}},
        token_refusals={"401": {"description": "who?", "content": TO_PROBLEM}},
    )


class Doors:
    """Every operation stands at its own path, below the upstream's name, for COMMON; `moved` stands elsewhere."""

    def __init__(self, moved: Mapping[str, Sequence[Entrance]] | None = None) -> None:
        self.moved = moved or {}

    def __call__(self, upstream: str | None, method: str, path: str) -> Sequence[Entrance]:
        del method
        at_home = f"/{upstream}{path}" if upstream else path
        return self.moved.get(path, (Entrance(at_home, Access.COMMON),))


def joined(*sources: Source, own: Own | None = None, moved: Mapping[str, Sequence[Entrance]] | None = None) -> Joined:
    return join(own or an_own(), sources, Doors(moved))


def document_of(found: Joined) -> Json:
    document: Json = json.loads(found.body)
    return document


def references(part: object) -> list[str]:
    """Every reference in a document, wherever it stands."""
    if isinstance(part, list):
        return [one for inner in part for one in references(inner)]
    if not isinstance(part, dict):
        return []
    here = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
    return here + [one for inner in part.values() for one in references(inner)]
