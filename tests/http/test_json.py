"""Bodies of every kind, over HTTP, by both mounts: what is taken comes back as it was, the rest is refused as a 4xx."""

import gzip
import json
import random
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.builders import some_settings
from tests.gateway import running_asgi_gateway, running_gateway
from tests.http.calls import as_, fields_of, make_task, open_chat, somebody, write
from tests.http.endpoints import WITH_BODY, Endpoint
from tests.http.json_bodies import BODIES, INVALID, UNCERTAIN, VALID
from tests.http.running import a_put_call, an_approval

FUZZED = 200
TAKEN = {200, 201, 202}
IS_TEXT = {name: body for name, body in {**VALID, **UNCERTAIN}.items() if body.startswith(b'"')}

NOT_AN_OBJECT = {"array": b"[]", "string": b'"a"', "number": b"1", "null": b"null", "boolean": b"true", "empty": b""}

FRAGMENTS = (
    *(b"[", b"]", b"{", b"}", b",", b":", b'"', b"\\", b"\\u", b"d800", b"\\u0000", b"\x00", b"\xff", b"\xef\xbb\xbf"),
    *(b"null", b"true", b"nul", b"1", b"-", b"1e9999", b"0.1e-999", b"-0", b"9" * 400, b" ", b"\n", b"/*", b"NaN"),
    *(b'"title"', b'"metadata"', b'"content"', b'"role"', b'"in_prompt"', b'"user_id"', b'"chat_id"', b'"user"'),
)


MOUNTS = [
    pytest.param(running_gateway, id="protocol"),
    pytest.param(running_asgi_gateway, id="asgi", marks=pytest.mark.soak),
]


@pytest.fixture(scope="module", params=MOUNTS)
def gateway_url(
    request: pytest.FixtureRequest, migrated_dsn: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("gateway")
    with request.param(some_settings(folder, dsn=migrated_dsn)) as url:
        yield url


@pytest.fixture(scope="module")
def owner() -> str:
    return somebody()


@pytest.fixture(scope="module")
def ids(gateway_url: str, owner: str) -> dict[str, object]:
    with httpx.Client(base_url=gateway_url) as caller:
        chat_id = open_chat(caller, owner, agent="echo")["id"]
        message_id = write(caller, owner, chat_id, "hello")["id"]
        task_id = make_task(caller, owner, task_type="triggered", prompt="hello")["id"]
    return {"chat_id": chat_id, "message_id": message_id, "task_id": task_id}


@pytest.fixture(params=WITH_BODY, ids=str)
def endpoint(request: pytest.FixtureRequest) -> Endpoint:
    found: Endpoint = request.param
    return found


@pytest.fixture
def send(caller: httpx.Client, endpoint: Endpoint, ids: dict[str, object], owner: str, migrated_dsn: str) -> "Send":
    if "{approval_id}" in endpoint.path:  # each is decided once
        ids = {**ids, "approval_id": an_approval(migrated_dsn, owner)}
    if "tool_call_id" in endpoint.path:
        ids = {**ids, **a_put_call(migrated_dsn, owner)}
    return Send(caller, endpoint, ids, owner)


class Send:
    """Post bytes to the endpoint as the owner of what it is about."""

    def __init__(self, caller: httpx.Client, endpoint: Endpoint, ids: dict[str, object], owner: str) -> None:
        self._caller = caller
        self._method, self._path = endpoint.method, endpoint.path.format(**ids)
        self._headers = as_(owner, endpoint.right_role)

    def __call__(self, body: bytes | Iterator[bytes], **fields: str) -> httpx.Response:
        """`fields` of the head, as keywords."""
        named = {name.replace("_", "-"): value for name, value in fields.items()}
        headers = {"content-type": "application/json", **self._headers, **named}
        return self._caller.request(self._method, self._path, content=body, headers=headers)


def test_no_body_is_an_error_of_ours(send: Send) -> None:
    statuses = {name: send(body).status_code for name, body in BODIES.items()}

    assert {name: status for name, status in statuses.items() if status not in {*TAKEN, 400}} == {}
    assert {name: statuses[name] for name in INVALID if statuses[name] != 400} == {}


def test_what_is_no_json_is_a_problem_that_says_so(send: Send) -> None:
    answers = {name: send(body) for name, body in INVALID.items()}

    told = {name: answer.json()["type"] for name, answer in answers.items()}
    assert {name: type_ for name, type_ in told.items() if type_ not in {"malformed", "validation-failed"}} == {}


def test_more_values_than_anything_takes_are_not_looked_at(send: Send) -> None:
    answer = send(b'{"rows":[' + b"{}," * 200_000 + b"{}]}")

    assert (answer.status_code, answer.json()["type"]) == (400, "malformed")
    assert "20,000 values" in answer.json()["detail"]


@pytest.mark.parametrize("embedded", [False, True], ids=["as it is", "within another"])
def test_json_that_is_taken_comes_back_as_it_was(caller: httpx.Client, *, embedded: bool) -> None:
    """Of what RFC 8259 leaves to readers, too, nothing is kept that differs from what was sent."""
    owner = somebody()
    chat_id = open_chat(caller, owner)["id"]
    wrong = {}
    for name, body in {**VALID, **UNCERTAIN}.items():
        value = b'["a", {"inner": %b}]' % body if embedded else body
        answer = caller.put(
            f"/api/v1/chats/{chat_id}", content=b'{"metadata": {"value": %b}}' % value, headers=as_(owner)
        )
        if answer.status_code == 200:
            read = caller.get(f"/api/v1/chats/{chat_id}", headers=as_(owner)).json()["metadata"]
            if read != answer.json()["metadata"] or read != {"value": json.loads(value)}:
                wrong[name] = read
        elif answer.status_code != 400 or name in VALID:
            wrong[name] = answer.text

    assert wrong == {}


def test_what_is_no_json_is_refused_wherever_it_stands(caller: httpx.Client) -> None:
    owner = somebody()
    chat_id = open_chat(caller, owner, metadata={"value": "kept"})["id"]
    path = f"/api/v1/chats/{chat_id}"

    statuses = {
        name: caller.put(path, content=b'{"metadata": {"value": %b}}' % body, headers=as_(owner)).status_code
        for name, body in INVALID.items()
    }

    assert {name: status for name, status in statuses.items() if status != 400} == {}
    assert caller.get(path, headers=as_(owner)).json()["metadata"] == {"value": "kept"}


def test_a_text_that_is_taken_comes_back_as_it_was(caller: httpx.Client) -> None:
    owner = somebody()
    chat_id = open_chat(caller, owner)["id"]
    path = f"/api/v1/messages/chats/{chat_id}/messages"
    wrong = {}
    for name, body in IS_TEXT.items():
        answer = caller.post(path, content=b'{"role": "user", "content": %b}' % body, headers=as_(owner))
        if answer.status_code == 201:
            read = caller.get(f"/api/v1/messages/{answer.json()['id']}", headers=as_(owner)).json()["content"]
            if read != answer.json()["content"] or read != json.loads(body):
                wrong[name] = read
        elif answer.status_code != 400 or (name in VALID and name != "text, empty"):
            wrong[name] = answer.text

    assert wrong == {}


@pytest.mark.parametrize("body", NOT_AN_OBJECT.values(), ids=NOT_AN_OBJECT)
def test_a_body_that_is_no_object_is_wrong_as_a_whole(send: Send, body: bytes) -> None:
    answer = send(body)

    assert (answer.status_code, answer.json()["type"]) == (400, "validation-failed")
    assert fields_of(answer) == [""]


def test_an_unknown_field_is_named(send: Send, endpoint: Endpoint) -> None:
    answer = send(json.dumps({**(endpoint.body or {}), "colour": "red"}).encode())

    assert (answer.status_code, answer.json()["errors"]) == (
        400,
        [{"field": "colour", "message": "is not a known field"}],
    )


def test_of_a_field_that_is_given_twice_the_last_counts(send: Send, endpoint: Endpoint) -> None:
    body = endpoint.body or {}
    name, value = next(iter(body.items()))
    rest = "".join(f", {json.dumps(key)}: {json.dumps(more)}" for key, more in body.items() if key != name)

    # what may stand there, too
    other = {"decision": "deny"}.get(name, "system") if isinstance(value, str) else value

    answer = send(f'{{"{name}": {json.dumps(other)}, "{name}": {json.dumps(value)}{rest}}}'.encode())

    assert answer.status_code in TAKEN


@pytest.mark.parametrize(
    "content_type",
    [
        *("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "x", "", "application/json;"),
        *("application/json; charset=utf-8", "application/json; charset=utf-16", "application/json; charset=nonsense"),
        *("application/octet-stream", "application/json, text/html", "multipart/form-data; boundary=a"),
    ],
)
def test_a_body_is_read_as_json_in_utf_8_whatever_it_is_called(
    send: Send, endpoint: Endpoint, content_type: str
) -> None:
    """Nobody has to name the type; what a page could send without a preflight is held off by the origin check."""
    answer = send(json.dumps(endpoint.body).encode(), content_type=content_type)

    assert answer.status_code in TAKEN


OTHER_KINDS: Mapping[str, tuple[Mapping[str, str], bytes]] = {
    "a form": ({"content-type": "application/x-www-form-urlencoded"}, b"title=Plans&content=hello&role=user&sub=7"),
    "a form of files": (
        {"content-type": "multipart/form-data; boundary=a"},
        b'--a\r\nContent-Disposition: form-data; name="title"\r\n\r\nPlans\r\n--a--\r\n',
    ),
    "a form of files without an end": ({"content-type": "multipart/form-data; boundary=a"}, b"--a\r\n"),
    "XML": ({"content-type": "application/xml"}, b"<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///x'>]><a>&b;</a>"),
    "YAML": ({"content-type": "application/yaml"}, b"title: Plans\n"),
    "MessagePack": ({"content-type": "application/x-msgpack"}, b"\x81\xa5title\xa5Plans"),
    "compressed": ({"content-encoding": "gzip"}, gzip.compress(b'{"title": "Plans"}')),
    "compressed a thousand times": ({"content-encoding": "gzip"}, gzip.compress(b'{"title": "' + b"a" * 4_000_000)),
    "compressed otherwise": ({"content-encoding": "deflate"}, zlib.compress(b'{"title": "Plans"}')),
    "UTF-16, and called so": (
        {"content-type": "application/json; charset=utf-16"},
        '{"title": "Plans"}'.encode("utf-16"),
    ),
    "Latin-1, and called so": ({"content-type": "application/json; charset=latin-1"}, b'{"caf\xe9": 1}'),
}


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_what_is_not_json_is_refused_whatever_it_is_called(send: Send, kind: str) -> None:
    fields, body = OTHER_KINDS[kind]

    answer = send(body, **fields)

    assert (answer.status_code, answer.json()["type"]) == (400, "malformed")


def test_a_body_that_is_too_large_is_refused(send: Send) -> None:
    answer = send(b'{"title": "' + b"a" * 5_000_000 + b'"}')

    assert (answer.status_code, answer.json()["type"]) == (413, "body-too-large")


def test_a_body_that_turns_out_too_large_is_refused(send: Send) -> None:
    answer = send(iter([b'{"title": "', *[b"a" * 100_000] * 50, b'"}']))

    assert (answer.status_code, answer.json()["type"]) == (413, "body-too-large")


def test_no_made_up_body_is_an_error_of_ours(send: Send) -> None:
    """Strings of what parsers stumble over, in any order; a failing one is found again by its seed."""
    chance = random.Random(20261121)
    bodies = [b"".join(chance.choices(FRAGMENTS, k=chance.randint(1, 12))) for _ in range(FUZZED // 2)]
    bodies += [b'{"title":' + body + b"}" for body in bodies]

    with ThreadPoolExecutor(8) as several:
        statuses = [answer.status_code for answer in several.map(send, bodies)]

    expected = {*TAKEN, 400, 409}  # 409: several that are taken meet in one chat
    assert [found for found in zip(bodies, statuses, strict=True) if found[1] not in expected] == []


METADATA = {
    "NUL": '{"a": "\\u0000"}',
    "NUL in a name": '{"\\u0000": 1}',
    "65 bits": '{"a": 18446744073709551616}',
    "33 levels": '{"a": ' + "[" * 33 + "]" * 33 + "}",
    "too many bytes": json.dumps({"a": "x" * 17_000}),
    "a list": "[]",
    "nothing": "null",
}


@pytest.mark.parametrize("metadata", METADATA.values(), ids=METADATA)
def test_metadata_that_cannot_be_kept_is_refused(caller: httpx.Client, metadata: str) -> None:
    answer = caller.post("/api/v1/chats/", content=f'{{"metadata": {metadata}}}', headers=as_(somebody()))

    assert answer.status_code == 400
    assert fields_of(answer) == ["metadata"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"title": "x" * 201}, "title"),
        ({"title": "a\0b"}, "title"),
        ({"agent": "a\0b"}, "agent"),
        ({"agent": ""}, "agent"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": "a\nb"}, "user_id"),
        ({"user_id": "x" * 256}, "user_id"),
        ({"user_id": 1.5}, "user_id"),
        ({"user_id": True}, "user_id"),
        ({"user_id": None}, "user_id"),
    ],
    ids=str,
)
def test_a_field_that_cannot_be_kept_is_refused(caller: httpx.Client, body: dict[str, object], field: str) -> None:
    answer = caller.post("/api/v1/chats/", json=body, headers=as_(somebody(), "admin"))

    assert answer.status_code == 400
    assert fields_of(answer) == [field]
