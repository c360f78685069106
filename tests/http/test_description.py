"""`/openapi.json` says what the endpoints really do: each is there, with every answer it may give."""

import json
from collections.abc import Iterator, Mapping

import httpx
import pytest

from app.kernel.ids import UserId, new_run_id
from tests.http.calls import (
    Json,
    as_,
    attach,
    make_batch,
    make_key,
    make_task,
    open_chat,
    say,
    somebody,
    withdraw,
    write,
)
from tests.http.endpoints import ENDPOINTS, OPEN_TO_ALL, SIGNED, VISITED, WITH_BODY, Endpoint
from tests.http.running import Workplace, a_notification, a_put_call, an_approval
from tests.http.streams import followed
from tests.http.test_memories import remember

ALWAYS = {"400", "413", "414", "431", "500"}
BEHIND_A_TOKEN = ALWAYS | {"401", "403", "503"}
TURN = BEHIND_A_TOKEN | {"404", "409", "429", "502", "504"}
NAME_A_CHAT = {"/api/v1/stream-execute", "/execute"}
"""in their body"""
UUIDS = ("run_id", "approval_id", "task_id", "batch_id", "notification_id", "key_id", "attachment_id")
FOR_MACHINES = {"/openapi.json", "/metrics"}
DESCRIBED = [endpoint for endpoint in (*ENDPOINTS, *OPEN_TO_ALL) if endpoint.path not in FOR_MACHINES]


@pytest.fixture(scope="module")
def document(gateway_url: str) -> Json:
    answer = httpx.get(f"{gateway_url}/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    found: Json = answer.json()
    return found


def operation_of(document: Json, endpoint: Endpoint) -> Json:
    found: Json = document["paths"][endpoint.path.rstrip("/")][endpoint.method.lower()]
    return found


def operations(document: Json) -> Iterator[tuple[str, Json]]:
    for path, item in document["paths"].items():
        for operation in item.values():
            yield path, operation


def references(part: object) -> Iterator[str]:
    if isinstance(part, dict):
        for key, value in part.items():
            if key == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


def test_it_is_openapi_3_1(document: Json) -> None:
    assert document["openapi"].startswith("3.1.")
    assert set(document["info"]) >= {"title", "version"}
    assert len(list(operations(document))) == len(DESCRIBED) + len(SIGNED) + len(VISITED)


def test_every_reference_leads_somewhere(document: Json) -> None:
    schemas = document["components"]["schemas"]

    assert {reference.removeprefix("#/components/schemas/") for reference in references(document)} <= set(schemas)


def test_every_operation_has_a_name_of_its_own_and_a_place(document: Json) -> None:
    found = [operation for _, operation in operations(document)]

    names = [operation["operationId"] for operation in found]
    assert len(set(names)) == len(names)
    assert {"ListChats", "Exchange"} <= set(names)
    assert all(operation["tags"] and operation["summary"] for operation in found)


def test_every_parameter_of_a_path_is_described(document: Json) -> None:
    for path, operation in operations(document):
        named = {part[1:-1] for part in path.split("/") if part.startswith("{")}
        described = {one["name"]: one for one in operation.get("parameters", ()) if one["in"] == "path"}

        assert set(described) == named
        assert all(one["required"] and one["schema"]["type"] in {"integer", "string"} for one in described.values())


def test_ids_are_described_as_what_they_are(document: Json) -> None:
    parameters = [one for _, operation in operations(document) for one in operation.get("parameters", ())]
    ids = {one["name"]: one["schema"] for one in parameters if one["name"].endswith("_id") and one["in"] == "path"}

    assert ids.pop("job_id")["type"] == "string"
    assert {ids.pop(name)["format"] for name in UUIDS} == {"uuid"}
    assert ids.pop("tool_call_id")["type"] == "string"  # a provider's word
    assert {schema["type"] for schema in ids.values()} == {"integer"}


def test_ids_are_described_with_their_bounds_to_the_last_digit(document: Json) -> None:
    every = [one for _, operation in operations(document) for one in operation.get("parameters", ())]
    ids = [one["schema"] for one in every if one["name"] in {"chat_id", "message_id", "revocation_id"}]

    assert {(schema["minimum"], schema["maximum"]) for schema in ids} == {(0, 2**63 - 1)}


def test_a_body_that_may_be_left_out_is_described_so(document: Json) -> None:
    posts = {
        path: item["post"]["requestBody"]["required"]
        for path, item in document["paths"].items()
        if "post" in item and "requestBody" in item["post"]
    }

    left_out = {path.rpartition("/")[2] for path, is_required in posts.items() if not is_required}
    assert left_out == {"regenerate", "fork", "clone"}


@pytest.mark.parametrize("endpoint", WITH_BODY, ids=str)
def test_a_body_that_takes_no_other_fields_is_described_so(document: Json, endpoint: Endpoint) -> None:
    taken = operation_of(document, endpoint)["requestBody"]["content"]["application/json"]["schema"]

    assert document["components"]["schemas"][taken["$ref"].rpartition("/")[2]]["additionalProperties"] is False


@pytest.mark.parametrize("endpoint", DESCRIBED, ids=str)
def test_options_names_every_method_of_a_path(client: httpx.Client, document: Json, endpoint: Endpoint) -> None:
    path = endpoint.path.format(
        **dict.fromkeys(("chat_id", "message_id", "revocation_id", "memory_id"), 1),
        **dict.fromkeys(UUIDS, new_run_id()),
        job_id=f"job_{new_run_id()}",
        name="echo",
        tool_call_id="call-1",
    )
    described = document["paths"][endpoint.path.rstrip("/")]

    answer = client.options(path, headers=as_(somebody(), "admin"))

    if path.startswith(("/api/health", "/.well-known")):  # their rows take GET alone
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
    else:
        assert answer.status_code == 204
        assert answer.headers["allow"].split(", ") == sorted({"OPTIONS", *(method.upper() for method in described)})


@pytest.mark.parametrize("endpoint", DESCRIBED, ids=str)
def test_every_refusal_is_described_as_a_problem(document: Json, endpoint: Endpoint) -> None:
    refusals = {
        status: response
        for status, response in operation_of(document, endpoint)["responses"].items()
        if status >= "400" and not (status == "503" and endpoint in OPEN_TO_ALL)
    }

    is_awaited = endpoint.path == "/execute" or endpoint.path.endswith(("/exchange", "/edit", "/regenerate"))
    expected = TURN if is_awaited else ALWAYS if endpoint in OPEN_TO_ALL else BEHIND_A_TOKEN
    if endpoint.method == "POST":
        expected = expected | ({"409", "415"} if endpoint.takes_files else {"409"})
    assert set(refusals) - {"404"} == expected - {"404"}
    assert ("404" in refusals) == ("{" in endpoint.path or endpoint.path in NAME_A_CHAT)
    for response in refusals.values():
        schema = response["content"]["application/problem+json"]["schema"]
        assert schema == {"$ref": "#/components/schemas/Problem"}
        assert response["description"].startswith("`")


@pytest.mark.parametrize("endpoint", DESCRIBED, ids=str)
def test_every_post_is_described_with_the_key_it_takes(document: Json, endpoint: Endpoint) -> None:
    parameters = operation_of(document, endpoint).get("parameters", ())

    keys = [one for one in parameters if one["in"] == "header"]

    assert [one["name"] for one in keys] == (["Idempotency-Key"] if endpoint.method == "POST" else [])
    assert not any(one["required"] for one in keys)


def test_events_are_described_in_both_their_forms(document: Json) -> None:
    events = document["paths"]["/api/v1/runs/{run_id}/events"]["get"]["responses"]["200"]

    assert set(events["content"]) == {"application/json", "text/event-stream"}


def test_a_file_is_described_as_part_of_a_form_and_as_a_body(document: Json) -> None:
    taken = document["paths"]["/api/v1/attachments"]["post"]["requestBody"]["content"]

    assert set(taken) == {"multipart/form-data", "application/octet-stream"}
    assert taken["multipart/form-data"]["schema"]["required"] == ["file"]


def test_a_refusal_names_its_types(document: Json) -> None:
    exchange = document["paths"]["/api/v1/messages/{chat_id}/exchange"]["post"]["responses"]

    assert "`chat-busy`" in exchange["409"]["description"]
    assert "`token-expired`" in exchange["401"]["description"]
    assert "`model-not-configured`" in exchange["503"]["description"]


@pytest.mark.parametrize("endpoint", DESCRIBED, ids=str)
def test_what_an_endpoint_answers_is_what_is_described(
    client: httpx.Client, document: Json, endpoint: Endpoint, migrated_dsn: str
) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner, agent="echo")["id"]
    message_id = write(client, owner, chat_id, "hello")["id"]
    revocation_id = withdraw(client, sub=somebody())["id"]
    run_id = say(client, owner, chat_id, "hello").json()[0]["run_id"]
    ids: dict[str, object] = {
        "chat_id": chat_id,
        "message_id": message_id,
        "run_id": run_id,
        "job_id": f"job_{run_id}",
        "revocation_id": revocation_id,
        "memory_id": remember(migrated_dsn, owner, "Likes tea.")[0],
        "key_id": make_key(client, owner)["id"],
        "attachment_id": attach(client, owner, b"hello", "hello.txt")["id"],
    }
    if "approval_id" in endpoint.path:
        ids["approval_id"] = an_approval(migrated_dsn, owner)
    if "standing" in endpoint.path:
        ids["approval_id"] = Workplace(migrated_dsn).approves_always(UserId(owner))
    if "tool_call_id" in endpoint.path:
        ids |= a_put_call(migrated_dsn, owner)
    if "task_id" in endpoint.path:
        ids["task_id"] = make_task(client, owner, task_type="triggered", prompt="hello")["id"]
    if endpoint.path.endswith("/report"):
        research = make_task(client, owner, task_type="research", prompt="hello")
        followed(client, owner, research["run_id"])
        ids["task_id"] = research["id"]
    if "batch_id" in endpoint.path:
        ids["batch_id"] = make_batch(client, owner, {"task_type": "triggered", "prompt": "hello"})["id"]
    if "notification_id" in endpoint.path:
        ids["notification_id"] = a_notification(migrated_dsn, owner)
    path = endpoint.at(ids)
    headers = {**as_(owner, endpoint.right_role), "accept": "application/json"}
    headers |= a_key_for(client, owner, endpoint)

    answer = client.request(endpoint.method, path, json=endpoint.body, headers=headers)

    described = operation_of(document, endpoint)["responses"][str(answer.status_code)]
    assert answer.status_code in {200, 201, 202, 204}
    if answer.status_code == 204:
        assert "content" not in described
    else:
        media_type = answer.headers["content-type"].partition(";")[0]
        for value in values_in(answer, media_type):
            content = described["content"]
            assert_fits(value, content.get(media_type, content.get("*/*"))["schema"], document)


def a_key_for(client: httpx.Client, owner: str, endpoint: Endpoint) -> Mapping[str, str]:
    """A token is not exchanged for another."""
    shows_key = "sessions" in endpoint.path
    return {"authorization": f"Bearer {make_key(client, owner)['key']}"} if shows_key else {}


def values_in(answer: httpx.Response, media_type: str) -> list[object]:
    """Read an answer as what its type says it is: of a stream each of its events."""
    if media_type == "application/json":
        return [answer.json()]
    if media_type != "text/event-stream":
        return [answer.text]
    return [json.loads(line.removeprefix("data: ")) for line in answer.text.splitlines() if line.startswith("data: ")]


def assert_fits(value: object, schema: Json, document: Json) -> None:
    """Check a value against what we use of JSON Schema, and that an object has no property more than its schema."""
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if not schema:  # anything at all
        return
    if "oneOf" in schema:
        schema = next(one for one in schema["oneOf"] if (one.get("type") == "null") == (value is None))
        assert_fits(value, schema, document)
    elif isinstance(value, dict) and "properties" in schema:
        assert set(schema["required"]) <= set(value) <= set(schema["properties"])
        for name, inner in value.items():
            assert_fits(inner, schema["properties"][name], document)
    elif isinstance(value, list):
        assert schema["type"] == "array"
        for inner in value:
            assert_fits(inner, schema["items"], document)
    else:
        kinds = {str: "string", bool: "boolean", int: "integer", dict: "object", type(None): "null"}
        assert schema.get("type", "string") == kinds[type(value)]
