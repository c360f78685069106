"""Many descriptions in one: at the front door's paths, each name told apart, each reference leading somewhere."""

from datetime import UTC, datetime

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from app.infra.openapi.document import MAX_DEPTH
from app.infra.openapi.join import MAX_JOINED_BYTES
from app.infra.openapi.operations import self_contained
from app.infra.openapi.ports import Entrance
from app.kernel.identity import Access
from tests.unit.infra.openapi.parts import (
    Json,
    a_source,
    an_own,
    answering,
    document_of,
    joined,
    ref,
    references,
)


def schemas(*names: str) -> Json:
    return {"schemas": {name: {"type": "object", "title": name} for name in names}}


def test_operations_stand_at_their_front_door_paths_with_their_access() -> None:
    moved = {"/calendars": [Entrance("/api/agenda/calendars", Access.STAFF)], "/hidden": []}
    source = a_source("agenda", {"/calendars": {"get": {"operationId": "list"}}, "/hidden": {"get": {}}})

    found = joined(source, moved=moved)

    (operation,) = found.operations
    assert list(document_of(found)["paths"]) == ["/api/agenda/calendars"]
    assert (operation.id, operation.method, operation.path) == ("list", "GET", "/api/agenda/calendars")
    assert (operation.access, operation.upstream) == (Access.STAFF, "agenda")
    assert found.described == {"agenda": 2}


def test_the_front_doors_security_and_tag_replace_the_upstreams() -> None:
    source = a_source(
        "agenda",
        {"/open": {"get": {"security": [{"basic": []}], "tags": ["x"]}}, "/shut": {"get": {"security": []}}},
        components={"securitySchemes": {"basic": {"type": "http", "scheme": "basic"}}},
    )

    document = document_of(joined(source, moved={"/open": [Entrance("/open", Access.PUBLIC)]}))

    opened, shut = document["paths"]["/open"]["get"], document["paths"]["/agenda/shut"]["get"]
    assert (opened["security"], opened["x-portico-access"]) == ([], "PUBLIC")
    assert (shut["security"], shut["x-portico-access"]) == ([{"bearer": []}, {"session": []}], "COMMON")
    assert opened["tags"] == shut["tags"] == ["agenda"]
    assert set(document["components"]["securitySchemes"]) == {"bearer", "session"}
    assert document["components"]["securitySchemes"]["session"]["name"] == "pg_access_token"


def test_colliding_components_are_told_apart_and_references_follow() -> None:
    agenda = a_source("agenda", {"/a": {"get": answering("Event")}}, components=schemas("Event"))
    billing = a_source("billing", {"/b": {"get": answering("Event")}}, components=schemas("Event"))
    lonely = a_source("lonely", {"/c": {"get": answering("Other")}}, components=schemas("Other", "Unused"))

    document = document_of(joined(agenda, billing, lonely))

    assert set(document["components"]["schemas"]) == {"Problem", "agenda_Event", "billing_Event", "Other"}
    answers = document["paths"]["/billing/b"]["get"]["responses"]
    assert answers["200"]["content"]["application/json"]["schema"] == ref("billing_Event")


def test_our_own_components_and_ids_keep_their_names() -> None:
    own = an_own({"/p": {"get": {**answering("Problem"), "operationId": "read"}}})
    source = a_source(
        "agenda", {"/a": {"get": {**answering("Problem"), "operationId": "read"}}}, components=schemas("Problem")
    )

    document = document_of(joined(source, own=own))

    assert set(document["components"]["schemas"]) == {"Problem", "agenda_Problem"}
    assert document["components"]["schemas"]["Problem"] != document["components"]["schemas"]["agenda_Problem"]
    assert list(document["paths"]) == ["/p", "/agenda/a"]
    assert document["paths"]["/p"]["get"]["operationId"] == "read"
    assert document["paths"]["/agenda/a"]["get"]["operationId"] == "agenda_read"


def test_a_made_up_name_gives_way_to_one_that_is_taken() -> None:
    own = an_own({"/p": {"get": answering("agenda_Event")}}, agenda_Event={"title": "ours"}, Event={})
    agenda = a_source("agenda", {"/a": {"get": answering("Event")}}, components=schemas("Event"))
    billing = a_source("billing", {"/b": {"get": answering("Event")}}, components=schemas("Event"))

    document = document_of(joined(agenda, billing, own=own))

    assert set(document["components"]["schemas"]) == {"Problem", "agenda_Event", "agenda_Event_2", "billing_Event"}


def test_names_that_no_component_may_have_are_mended() -> None:
    source = a_source("agenda", {"/a": {"get": answering("Page%5BItem%5D")}}, components=schemas("Page[Item]"))

    document = document_of(joined(source))

    assert "Page_Item_" in document["components"]["schemas"]
    assert ref("Page_Item_")["$ref"] in references(document)


def test_ids_are_unique_whoever_wrote_them_and_those_without_get_one() -> None:
    twice = {"get": {"operationId": "list"}}
    agenda = a_source("agenda", {"/a": twice, "/b": twice, "/items/{id}": {"get": {}}})
    billing = a_source("billing", {"/c": twice})
    moved = {"/c": [Entrance("/c", Access.COMMON), Entrance("/c2", Access.COMMON)]}

    ids = [operation.id for operation in joined(agenda, billing, moved=moved).operations]

    assert ids == [
        "agenda_list",
        "agenda_list_2",
        "get_agenda_items_id",
        "billing_list",
        "billing_list_2",
    ]


def test_templates_that_differ_in_names_only_become_one_path() -> None:
    agenda = a_source("agenda", {"/a/{id}": {"get": {"parameters": [{"name": "id", "in": "path"}]}}})
    billing = a_source("billing", {"/b/{key}": {"put": {"parameters": [{"name": "key", "in": "path", "schema": {}}]}}})
    moved = {"/a/{id}": [Entrance("/x/{id}", Access.COMMON)], "/b/{key}": [Entrance("/x/{key}", Access.COMMON)]}

    found = joined(agenda, billing, moved=moved)

    assert {path: set(item) for path, item in document_of(found)["paths"].items()} == {"/x/{id}": {"get", "put"}}
    assert [[one.name for one in operation.parameters] for operation in found.operations] == [["id"], ["id"]]


def test_parameters_are_those_that_reach_the_upstream() -> None:
    item = {
        "parameters": [ref("Limit", "parameters"), {"name": "q", "in": "query", "description": "of the path"}],
        "get": {
            "parameters": [
                {"name": "q", "in": "query", "description": "of the operation"},
                {"name": "gone", "in": "path", "schema": {}},
                {"name": "X-User-Id", "in": "header"},
                {"name": "Authorization", "in": "header"},
                {"name": "X-Colour", "in": "header"},
                ref("Missing", "parameters"),
                {"name": "where", "in": "body"},
                5,
            ]
        },
    }
    limit = {"name": "limit", "in": "query", "schema": ref("Number")}
    components = {"parameters": {"Limit": limit}, **schemas("Number")}

    found = joined(a_source("agenda", {"/a/{id}": item}, components=components))

    (operation,) = found.operations
    assert [(one.name, one.place, one.is_required) for one in operation.parameters] == [
        ("limit", "query", False),
        ("q", "query", False),
        ("X-Colour", "header", False),
        ("id", "path", True),
    ]
    assert operation.parameters[0].schema == ref("Number")
    assert operation.parameters[1].description == "of the operation"


def test_a_body_is_there_with_its_schemas() -> None:
    body = {"required": True, "content": {"application/json": {"schema": ref("New")}, "text/plain": {}}}
    components = {"requestBodies": {"Body": body}, **schemas("New")}

    found = joined(
        a_source("agenda", {"/a": {"post": {"requestBody": ref("Body", "requestBodies")}}}, components=components)
    )

    (operation,) = found.operations
    assert operation.body is not None
    assert operation.body.is_required
    assert operation.body.schemas == {"application/json": ref("New"), "text/plain": {}}
    assert "New" in found.schemas


def test_what_the_front_door_may_answer_is_described_where_the_upstream_does_not() -> None:
    source = a_source("agenda", {"/a": {"get": {"responses": {"502": {"description": "theirs"}}}}, "/b": {"get": {}}})

    paths = document_of(joined(source, moved={"/b": [Entrance("/b", Access.PUBLIC)]}))["paths"]

    assert paths["/agenda/a"]["get"]["responses"]["502"]["description"] == "theirs"
    assert set(paths["/agenda/a"]["get"]["responses"]) == {"502", "401"}
    assert set(paths["/b"]["get"]["responses"]) == {"502"}


def test_a_stale_upstream_is_marked_and_since_when() -> None:
    since = datetime(2026, 5, 4, 3, 2, 1, 99, tzinfo=UTC)
    found = joined(a_source("agenda", {"/a": {"get": {}}}, stale_since=since), a_source("billing", {"/b": {"get": {}}}))

    document = document_of(found)
    mark = {"x-portico-stale": True, "x-portico-stale-since": "2026-05-04T03:02:01Z"}
    assert document["paths"]["/agenda/a"]["get"].items() >= mark.items()
    assert not document["paths"]["/billing/b"]["get"].keys() & mark.keys()
    assert [tag.keys() & mark.keys() for tag in document["tags"]] == [set(mark), set()]
    assert [operation.is_stale for operation in found.operations] == [True, False]


def test_what_an_upstream_claims_in_our_words_is_not_believed() -> None:
    claims = {"x-portico-access": "PUBLIC", "x-portico-stale": True, "servers": [{"url": "/"}], "callbacks": {"a": {}}}

    document = document_of(joined(a_source("agenda", {"/a": {"get": claims}})))

    operation = document["paths"]["/agenda/a"]["get"]
    assert operation["x-portico-access"] == "COMMON"
    assert not operation.keys() & {"x-portico-stale", "servers", "callbacks"}


def test_references_that_lead_out_are_dropped() -> None:
    content = {"application/json": {"schema": {"properties": {"far": {"$ref": "https://there.test/x.json"}}}}}
    source = a_source(
        "agenda",
        {
            "/a": {
                "get": {"responses": {"200": {"content": content}, "404": ref("No", "responses"), "x": {}, "200 ": 5}}
            }
        },
    )

    document = document_of(joined(source))

    answers = document["paths"]["/agenda/a"]["get"]["responses"]
    assert answers["200"]["content"]["application/json"]["schema"] == {"properties": {"far": {}}}
    assert answers["404"] == {"description": ""}
    assert set(answers) == {"200", "404", "502", "401"}


def test_the_same_sources_give_the_same_bytes_in_whatever_order() -> None:
    one = a_source("one", {"/a": {"get": answering("Event")}}, components=schemas("Event"))
    two = a_source("two", {"/b": {"get": answering("Event")}}, components=schemas("Event"))

    first, second = joined(one, two), joined(two, one)

    assert first.body == second.body
    assert first.etag == second.etag
    assert first.etag.startswith('"')
    assert joined(one).etag != first.etag


@pytest.mark.parametrize("openapi", ["3.0.3", "3.1.0", "3.2.0"])
def test_schemas_that_lead_to_themselves_are_carried(openapi: str) -> None:
    tree = {"type": "object", "nullable": True, "properties": {"children": {"items": ref("Tree")}}}
    source = a_source(
        "agenda", {"/a": {"get": answering("Tree")}}, openapi=openapi, components={"schemas": {"Tree": tree}}
    )

    document = document_of(joined(source))

    assert document["openapi"] == "3.1.0"
    assert document["components"]["schemas"]["Tree"]["properties"]["children"]["items"] == ref("Tree")
    assert ("nullable" in document["components"]["schemas"]["Tree"]) is (openapi != "3.0.3")


def test_what_is_shared_by_many_operations_does_not_multiply_without_end() -> None:
    heavy = {"name": "q", "in": "query", "schema": {"description": "x" * 1_000_000}}
    paths = {f"/{number}": {"get": {"parameters": [ref("Heavy", "parameters")]}} for number in range(1000)}
    source = a_source("agenda", paths, components={"parameters": {"Heavy": heavy}})

    found = joined(source, a_source("billing", {"/b": {"get": {}}}))

    assert len(found.body) < 2 * MAX_JOINED_BYTES
    assert found.cut == {"agenda"}
    assert [operation.path for operation in found.operations_of("billing")] == ["/billing/b"]
    assert 1 < len(list(found.operations_of("agenda"))) < 1000


def test_the_deepest_description_that_is_read_can_be_joined() -> None:
    def deep(levels: int) -> Json:
        return {"items": deep(levels - 1)} if levels else {"nullable": True, "anyOf": [ref("Event")]}

    source = a_source(
        "agenda",
        {"/a": {"get": answering("Deep")}},
        openapi="3.0.0",
        components={"schemas": {"Deep": deep(MAX_DEPTH - 8), "Event": {}}},
    )

    found = joined(source)

    assert self_contained(ref("Deep"), found.schemas)["$defs"].keys() == {"Deep", "Event"}  # type: ignore[attr-defined] # a mapping


WORDS = """
$ref parameters responses requestBody content schema schemas properties components paths get put 200 name in path query
items anyOf discriminator mapping nullable type exclusiveMinimum minimum description operationId tags servers url
variables /a /b/{id} application/json callbacks required deprecated externalDocs
"""
VALUES = """
#/components/schemas/A #/components/parameters/A #/components/x/A #/components/schemas/A/items A path query id /x http://[
"""
NODES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.sampled_from(VALUES.split())),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS.split()), inner, max_size=6),
    max_leaves=25,
)
OBJECTS = st.dictionaries(st.sampled_from(WORDS.split()), NODES, max_size=6)
COMPONENTS = st.dictionaries(
    st.sampled_from(["schemas", "parameters"]), st.dictionaries(st.just("A"), NODES, min_size=1), max_size=2
)


@settings(max_examples=100, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(item=OBJECTS, operation=OBJECTS, components=COMPONENTS, openapi=st.sampled_from(["3.0.0", "3.1.0"]))
def test_whatever_an_upstream_writes_every_reference_leads_somewhere(
    item: Json, operation: Json, components: Json, openapi: str
) -> None:
    hostile = a_source("hostile", {"/a": {**item, "get": operation}}, components=components, openapi=openapi)
    good = a_source("good", {"/b": {"get": answering("A")}}, components=schemas("A"))

    document = document_of(joined(hostile, good))

    known = {f"#/components/{section}/{name}" for section, named in document["components"].items() for name in named}
    led = {"/".join(reference.split("/")[:4]) for reference in references(document)}
    assert led <= known
    assert document["paths"]["/good/b"]["get"]["operationId"] == "get_good_b"
