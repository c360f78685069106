"""A description that somebody else wrote: what can be used of it is read, and nothing in it does harm."""

import json
import time

import pytest

from app.infra.openapi import document
from app.infra.openapi.document import Pointer, read_document
from app.infra.openapi.ports import DescriptionUnusable


def read(**root: object) -> document.Document:
    return read_document(json.dumps({"openapi": "3.1.0", **root}).encode())


def paths(found: document.Document) -> list[str]:
    return [f"{one.method} {one.path}" for one in found.operations]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "is not JSON"),
        (b"openapi: 3.1.0", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b'{"openapi": "3.1.0", "paths": {"\\ud800": {}}}', "is not JSON"),
        (b"[]", "is not a JSON object"),
        (b"null", "is not a JSON object"),
        (b"{}", "is not OpenAPI 3"),
        (b'{"openapi": 3}', "is not OpenAPI 3"),
        (b'{"openapi": "4.0.0"}', "is not OpenAPI 3"),
        (b'{"swagger": "2.0", "paths": {}}', "is Swagger 2"),
        (b"[" * 2_000_000, "is nested too deeply"),
        (b'{"a":' * 900 + b"1" + b"}" * 900, "is not OpenAPI 3"),
        (b'{"openapi": "3.1.0", "a":' + b"[" * 200 + b"]" * 200 + b"}", "is nested deeper"),
        (b'{"openapi": "3.1.0", "a": [' + b"0," * 1_000_000 + b"0]}", "holds more than"),
        (b" " * (document.LIMIT_BYTES + 1), "is larger than"),
    ],
    ids=lambda value: value[:24].decode("latin-1") if isinstance(value, bytes) else "",
)
def test_what_is_no_description_is_refused_in_no_time(body: bytes, words: str) -> None:
    begun_s = time.monotonic()

    with pytest.raises(DescriptionUnusable, match=words):
        read_document(body)

    assert time.monotonic() - begun_s < 5


def test_too_many_operations_are_refused() -> None:
    with pytest.raises(DescriptionUnusable, match="describes more than"):
        read(paths={f"/{number}": {"get": {}} for number in range(document.MAX_OPERATIONS + 1)})


@pytest.mark.parametrize("wrong", [None, 5, "text", [], [None], True, {"$ref": 5}, {"$ref": "#/components/x"}])
def test_a_value_of_another_type_is_left_out(wrong: object) -> None:
    found = read(
        info=wrong,
        servers=wrong,
        components=wrong,
        paths={"/good": {"get": {}, "put": wrong, "parameters": wrong, "servers": wrong}, "/bad": wrong},
    )
    nothing = read(paths=wrong)

    assert paths(found) in (["get /good"], ["get /good", "put /good"])
    assert paths(nothing) == []


@pytest.mark.parametrize(
    ("servers", "path"),
    [
        ([], "/x"),
        ([{"url": "/"}], "/x"),
        ([{"url": "/api/v1/"}], "/api/v1/x"),
        ([{"url": "https://there.test/api"}, {"url": "/other"}], "/api/x"),
        ([{"url": "v2"}], "/v2/x"),
        ([{"url": "https://{host}/{base}", "variables": {"base": {"default": "b"}, "host": {}}}], "/b/x"),
        ([{"url": "http://[::"}], "/x"),
        ([{"url": 5}], "/x"),
    ],
)
def test_paths_are_below_the_first_server(servers: list[object], path: str) -> None:
    assert paths(read(servers=servers, paths={"/x": {"get": {}}})) == [f"get {path}"]


def test_the_nearest_servers_count() -> None:
    item = {"servers": [{"url": "/b"}], "get": {"servers": [{"url": "/c"}]}, "put": {}}

    assert paths(read(servers=[{"url": "/a"}], paths={"/x": item})) == ["get /c/x", "put /b/x"]


def test_a_path_that_is_a_reference_is_followed() -> None:
    found = read(
        components={"pathItems": {"shared": {"get": {"operationId": "one"}}}},
        paths={"/x": {"$ref": "#/components/pathItems/shared"}, "/y": {"$ref": "https://there.test/y"}},
    )

    assert [(one.path, one.node["operationId"]) for one in found.operations] == [("/x", "one")]


def test_a_long_path_and_one_without_a_slash_are_left_out() -> None:
    assert paths(read(paths={"x": {"get": {}}, "/" + "x" * 2000: {"get": {}}, "/y": {"get": {}}})) == ["get /y"]


@pytest.mark.parametrize(
    ("reference", "pointer"),
    [
        ("#/components/schemas/A", Pointer("schemas", "A")),
        ("#/components/schemas/A/properties/b", Pointer("schemas", "A", "/properties/b")),
        ("#/components/schemas/a~1b~0c", Pointer("schemas", "a/b~c")),
        ("#/components/schemas/a%20b", Pointer("schemas", "a b")),
        ("#/components/links/A", None),
        ("#/paths/~1x/get", None),
        ("#/$defs/A", None),
        ("other.json#/components/schemas/A", None),
        ("https://there.test/a.json", None),
        ("", None),
        (5, None),
        (None, None),
    ],
)
def test_only_what_leads_to_a_component_is_followed(reference: object, pointer: Pointer | None) -> None:
    assert Pointer.read(reference) == pointer


def test_a_reference_is_resolved_a_few_hops_far_and_circles_lead_nowhere() -> None:
    def hop(name: str) -> dict[str, str]:
        return {"$ref": f"#/components/parameters/{name}"}

    found = read(components={"parameters": {"a": hop("b"), "b": {"name": "n"}, "c": hop("d"), "d": hop("c"), "e": 5}})

    assert found.resolve(hop("a")) == {"name": "n"}
    assert found.resolve({"name": "m"}) == {"name": "m"}
    assert [found.resolve(one) for one in (hop("c"), hop("e"), hop("f"), 5, None)] == [None] * 5
