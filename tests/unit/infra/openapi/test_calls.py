"""Operations as what is called with one object: named for good, offered to whom they are open, self-contained."""

import re
from typing import Any

import pytest

from app.infra.openapi.calls import NAME_LIMIT_CHARS, SCHEMA_LIMIT_BYTES, Argument, OperationCall, calls_of
from app.infra.openapi.ports import Entrance
from app.kernel.identity import Access
from tests.unit.infra.openapi.parts import Json, a_source, an_own, joined, ref

COMMON = frozenset({Access.COMMON})
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def only(paths: Json, **root: Any) -> OperationCall:  # Any: more of the document
    (call,) = calls_of(joined(a_source("agenda", paths, **root)), COMMON)
    return call


def body_of(media: str, *, schema: object = None, is_required: bool = True) -> Json:
    return {"requestBody": {"required": is_required, "content": {media: {"schema": schema or {"type": "object"}}}}}


def test_what_is_in_path_query_and_body_becomes_an_argument() -> None:
    parameters = [
        {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}, "description": "Which."},
        {"name": "deep", "in": "query", "schema": {"type": "boolean"}},
        {"name": "id", "in": "query", "schema": {}},
        {"name": "authorization", "in": "header", "required": True, "schema": {}},
        {"name": "session", "in": "cookie", "schema": {}},
    ]
    operation = {"operationId": "change", "summary": "Change it.", "parameters": parameters}
    call = only(
        {"/things/{id}": {"put": operation | body_of("application/json", schema=ref("Thing"))}},
        components={"schemas": {"Thing": {"properties": {"part": ref("Thing")}}}},
    )

    assert call.name == "agenda_change"
    assert (call.method, call.path, call.media) == ("PUT", "/agenda/things/{id}", "json")
    assert call.description == "Change it.\n\nPUT /agenda/things/{id}"
    assert call.schema["required"] == ["id", "body"]
    assert call.schema["properties"]["id"] == {"type": "integer", "description": "Which."}
    assert call.schema["properties"]["body"]["$ref"] == "#/$defs/Thing"
    assert call.arguments == {
        "id": Argument("path", "id"),
        "deep": Argument("query", "deep"),
        "id_query": Argument("query", "id"),
        "body": Argument("body", "body"),
    }


@pytest.mark.parametrize(
    ("media", "sent"),
    [
        ("application/json; charset=utf-8", "json"),
        ("application/merge-patch+json", "json"),
        ("application/x-www-form-urlencoded", "form"),
    ],
)
def test_a_body_is_sent_as_json_or_as_a_form(media: str, sent: str) -> None:
    assert only({"/x": {"post": body_of(media)}}).media == sent


def test_what_needs_another_kind_of_body_is_not_offered() -> None:
    files = "multipart/form-data"

    assert calls_of(joined(a_source("a", {"/x": {"post": body_of(files)}})), COMMON) == []
    assert list(only({"/x": {"post": body_of(files, is_required=False)}}).arguments) == []


def test_an_operation_is_offered_to_those_it_is_open_to() -> None:
    paths = {f"/{access}": {"get": {"operationId": access.value}} for access in Access}
    doors = {f"/{access}": (Entrance(f"/{access}", access),) for access in Access}
    fleet = joined(a_source("a", paths), moved=doors)

    def named(*groups: Access) -> set[str]:
        return {call.name for call in calls_of(fleet, groups)}

    assert named() == {"a_PUBLIC"}
    assert named(Access.COMMON) == {"a_PUBLIC", "a_COMMON"}
    assert named(Access.COMMON, Access.STAFF) == {"a_PUBLIC", "a_COMMON", "a_STAFF"}


def test_our_own_operations_are_not_among_them() -> None:
    assert calls_of(joined(own=an_own({"/api/v1/approvals/{id}": {"post": {}}})), frozenset(Access)) == []


def test_names_fit_every_provider_and_are_told_apart_for_good() -> None:
    long = "x" * 200
    paths = {
        "/a": {"get": {"operationId": "same.name"}},
        "/b": {"get": {"operationId": "same name"}},
        "/c": {"get": {"operationId": long}, "post": {"operationId": f"{long}y"}},
        "/d": {"get": {"operationId": "größe"}},
        "/e": {"get": {}},
    }
    all_of_them = [call.name for call in calls_of(joined(a_source("my agenda", paths)), COMMON)]
    one_less = {path: item for path, item in paths.items() if path != "/b"}
    some = {call.path: call.name for call in calls_of(joined(a_source("my agenda", one_less)), COMMON)}

    assert all(NAME.fullmatch(name) for name in all_of_them)
    assert len(set(all_of_them)) == len(all_of_them) == 6
    assert max(map(len, all_of_them)) == NAME_LIMIT_CHARS
    assert some["/my agenda/a"] == "my_agenda_same_name"
    assert all_of_them[0].startswith("my_agenda_same_name_")


def test_a_name_is_not_changed_by_what_somebody_may_not_do() -> None:
    paths = {"/a": {"get": {"operationId": "read.it"}}, "/b": {"get": {"operationId": "read it"}}}
    doors = {"/a": (Entrance("/a", Access.COMMON),), "/b": (Entrance("/b", Access.STAFF),)}
    fleet = joined(a_source("s", paths), moved=doors)

    assert calls_of(fleet, COMMON)[0].name == calls_of(fleet, [Access.COMMON, Access.STAFF])[0].name


def test_a_schema_that_is_too_large_is_left_to_the_service() -> None:
    huge = {"type": "object", "description": "x" * SCHEMA_LIMIT_BYTES}

    assert (
        "Too large"
        in only({"/x": {"post": body_of("application/json", schema=huge)}}).schema["properties"]["body"]["description"]
    )
