"""API keys over HTTP: made, shown once, let in as their owner within their scopes, refused once they are deleted."""

import re
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import jwt
import pytest
from sqlalchemy import text

from app.infra.db.engine import Database
from tests.builders import some_settings
from tests.gateway import running_gateway
from tests.http.calls import Json, as_, fields_of, history, open_chat, say, somebody, withdraw
from tests.http.recording import Recording, recording
from tests.http.running import Workplace

KEYS = "/api/v1/keys"
SESSIONS = "/api/v1/sessions"
AGENTS = "/api/v1/agents/"
ADMIN = as_("root", "admin")
WITHIN_S = 1.5  # a second is promised; the rest is for a busy machine
PATIENCE_S = 15
ROWS: tuple[dict[str, object], ...] = (
    {"prefix": "/there", "upstream": "there", "access": "COMMON"},
    {"prefix": "/token", "upstream": "there", "access": "COMMON", "forward_token": True},
    {"prefix": "/open", "upstream": "there", "access": "PUBLIC"},
    {"prefix": "/staff", "upstream": "there", "access": "STAFF"},
)


@pytest.fixture(scope="module")
def upstream() -> Iterator[Recording]:
    with recording() as kept:
        yield kept


@pytest.fixture(scope="module")
def gateway_url(migrated_dsn: str, upstream: Recording, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("gateway")
    settings = some_settings(folder, dsn=migrated_dsn, upstreams={"there": {"url": upstream.url}}, routes=ROWS)
    with running_gateway(settings) as url:
        yield url


@pytest.fixture(scope="module")
def other(migrated_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A second instance on the same database."""
    settings = some_settings(tmp_path_factory.mktemp("other"), dsn=migrated_dsn)
    with running_gateway(settings) as url, httpx.Client(base_url=url, timeout=30) as other:
        yield other


def make(client: httpx.Client, headers: Mapping[str, str], **fields: object) -> Json:
    answer = client.post(KEYS, json={"name": "laptop", **fields}, headers=headers)
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    made: Json = answer.json()
    return made


def carrying(made: Json | str) -> dict[str, str]:
    return {"authorization": f"Bearer {made if isinstance(made, str) else made['key']}"}


def status(client: httpx.Client, headers: Mapping[str, str], path: str = AGENTS, method: str = "GET") -> int:
    return client.request(method, path, headers=headers).status_code


def until_refused_s(client: httpx.Client, headers: Mapping[str, str]) -> float:
    begin = time.monotonic()
    while status(client, headers) == 200:
        assert time.monotonic() < begin + PATIENCE_S, "it is let in for ever"
        time.sleep(0.01)
    return time.monotonic() - begin


# ---- made and listed


def test_a_key_is_shown_once_and_kept_as_a_hash(caller: httpx.Client, migrated_dsn: str) -> None:
    owner = somebody()

    made = make(caller, as_(owner), name="ci")
    listed = caller.get(KEYS, headers=as_(owner)).json()["items"]

    assert re.fullmatch(r"ptk_[0-9a-f]{32}_[0-9a-f]{64}", made["key"])
    assert made["key"].startswith(made["prefix"] + "_")
    assert listed == [{name: value for name, value in made.items() if name != "key"}]
    assert (
        listed[0] | {"user_id": owner, "name": "ci", "roles": ["user"], "scopes": [], "expires_at": None} == listed[0]
    )
    assert made["key"].rpartition("_")[2] not in _dump(migrated_dsn)


def _dump(dsn: str) -> str:
    async def read(database: Database) -> str:
        async with database.engine.connect() as connection:
            rows = await connection.execute(text("SELECT CAST(k AS text) FROM api_keys k"))
            return "\n".join(rows.scalars())

    return Workplace(dsn)._do(read)


def test_a_key_opens_doors_as_its_owner(caller: httpx.Client) -> None:
    owner = somebody()
    key = make(caller, as_(owner))

    chat = caller.post("/api/v1/chats/", json={}, headers=carrying(key)).json()

    assert chat["user_id"] == owner
    assert status(caller, carrying(key), "/staff/x") == 403


def test_each_key_is_its_owners_and_an_admin_sees_all(caller: httpx.Client) -> None:
    owner, stranger = somebody(), somebody()
    made = make(caller, as_(owner))

    of_stranger = caller.get(KEYS, headers=as_(stranger)).json()
    asked_for = caller.get(KEYS, params={"user_id": owner}, headers=as_(stranger))
    of_admin = caller.get(KEYS, params={"user_id": owner, "searchField": "name", "searchString": "LAP"}, headers=ADMIN)

    assert of_stranger["items"] == []
    assert asked_for.status_code == 403
    assert [one["id"] for one in of_admin.json()["items"]] == [made["id"]]


@pytest.mark.parametrize(
    ("fields", "flawed"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"role": "admin"}, "role"),
        ({"role": "manager"}, "role"),
        ({"role": "developer"}, "role"),
        ({"role": "king"}, "role"),
        ({"scopes": ["v1"]}, "scopes[0]"),
        ({"scopes": ["/v1", "FETCH /v1"]}, "scopes[1]"),
        ({"scopes": ["/v1/../api"]}, "scopes[0]"),
        ({"scopes": ["/v1?x=1"]}, "scopes[0]"),
        ({"scopes": ["/x"] * 33}, "scopes"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "2120-01-01T00:00:00"}, "expires_at"),
        ({"expires": 5}, "expires"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_no_key_may_be_is_refused(caller: httpx.Client, fields: Json, flawed: str) -> None:
    answer = caller.post(KEYS, json={"name": "laptop", **fields}, headers=as_(somebody()))

    assert (answer.status_code, fields_of(answer)) == (400, [flawed])


def test_a_key_may_have_less_than_its_owner(caller: httpx.Client) -> None:
    made = make(caller, as_(somebody(), "manager"), role="user")

    assert made["roles"] == ["user"]
    assert status(caller, carrying(made), "/staff/x") == 403


def test_one_owner_has_fifty_keys_and_no_more_however_many_are_made_at_once(caller: httpx.Client) -> None:
    owner = as_(somebody())

    with ThreadPoolExecutor(10) as pool:
        sent = [pool.submit(caller.post, KEYS, json={"name": str(n)}, headers=owner) for n in range(55)]
    answers = [one.result() for one in sent]

    assert sorted(one.status_code for one in answers) == [201] * 50 + [409] * 5
    assert {one.json()["type"] for one in answers if one.status_code == 409} == {"too-many-keys"}


def test_a_keyed_request_makes_one_key_and_its_answer_is_kept_sealed(caller: httpx.Client, migrated_dsn: str) -> None:
    headers = {**as_(somebody()), "idempotency-key": "k-1"}

    answers = [caller.post(KEYS, json={"name": "laptop"}, headers=headers).json() for _ in range(2)]
    listed = caller.get(KEYS, headers=headers).json()

    assert answers[0] == answers[1]
    assert listed["total"] == 1
    assert answers[0]["key"] not in _kept_answers(migrated_dsn)


def _kept_answers(dsn: str) -> str:
    async def read(database: Database) -> str:
        async with database.engine.connect() as connection:
            rows = await connection.execute(
                text("SELECT encode(CAST(k AS text)::bytea, 'escape') FROM keyed_requests k")
            )
            return "\n".join(rows.scalars())

    return Workplace(dsn)._do(read)


def test_a_key_and_its_session_make_and_delete_no_keys(caller: httpx.Client) -> None:
    made = make(caller, as_(somebody()))
    session = caller.post(SESSIONS, headers=carrying(made)).json()["access_token"]

    answers = [
        caller.post(KEYS, json={"name": "more"}, headers=carrying(made)),
        caller.post(KEYS, json={"name": "more"}, headers=carrying(session)),
        caller.delete(f"{KEYS}/{made['id']}", headers=carrying(made)),
    ]

    assert [(one.status_code, one.json()["type"]) for one in answers] == [(403, "key-by-key")] * 3


# ---- refused


@pytest.mark.parametrize(
    "spoil",
    [
        lambda key: key[:-1] + ("0" if key[-1] != "0" else "1"),
        lambda key: key[:36] + "_" + "0" * 64,
        lambda key: "ptk_" + "0" * 32 + key[36:],
        lambda key: key[:-1],
        lambda key: key + "0",
        lambda key: key.upper().replace("PTK_", "ptk_"),
        lambda key: key[:36],
        lambda key: "ptk_",
    ],
    ids=["another end", "another secret", "another id", "shorter", "longer", "in capitals", "its prefix", "nothing"],
)
def test_what_is_nearly_a_key_is_none(caller: httpx.Client, spoil: object) -> None:
    key = make(caller, as_(somebody()))["key"]

    answer = caller.get(AGENTS, headers=carrying(spoil(key)))  # type: ignore[operator] # a function of the table

    assert (answer.status_code, answer.json()["type"]) == (401, "token-invalid")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_a_key_is_taken_from_the_authorization_field_only(caller: httpx.Client) -> None:
    key = make(caller, as_(somebody()))["key"]
    upgrade = {"upgrade": "websocket", "connection": "Upgrade", "sec-websocket-version": "13"}
    shaken = {**upgrade, "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="}

    answers = [
        caller.get(AGENTS, headers={"cookie": f"pg_access_token={key}"}),
        caller.get(AGENTS, headers={**carrying(key), "cookie": f"pg_access_token={key}"}),
        caller.get(f"{AGENTS}?api_key={key}&access_token={key}"),
        caller.get(AGENTS, headers={"x-api-key": key}),
        caller.get("/api/v1/tasks/events/ws", headers={**shaken, "sec-websocket-protocol": f"portico.bearer.{key}"}),
    ]

    assert [one.status_code for one in answers] == [401] * 5


def test_a_key_expires(caller: httpx.Client) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=1.2)
    key = make(caller, as_(somebody()), expires_at=soon.isoformat())
    session = caller.post(SESSIONS, headers=carrying(key)).json()
    was_let_in = status(caller, carrying(key))

    time.sleep(1.3)  # the key's own time, by the gateway's clock
    after = caller.get(AGENTS, headers=carrying(key))

    assert was_let_in == 200
    assert session["expires_in"] <= 1
    assert (after.status_code, after.json()["type"]) == (401, "token-expired")


def test_a_deleted_key_is_refused_here_at_once_and_elsewhere_within_a_second(
    caller: httpx.Client, other: httpx.Client
) -> None:
    owner = as_(somebody())
    key = make(caller, owner)
    session = carrying(caller.post(SESSIONS, headers=carrying(key)).json()["access_token"])
    before = [status(one, headers) for one in (caller, other) for headers in (carrying(key), session)]

    deleted = caller.delete(f"{KEYS}/{key['id']}", headers=owner)
    here = [status(caller, headers) for headers in (carrying(key), session)]
    elsewhere_s = max(until_refused_s(other, carrying(key)), until_refused_s(other, session))

    assert before == [200] * 4
    assert deleted.status_code == 204
    assert here == [401, 401]
    assert elsewhere_s < WITHIN_S
    assert caller.delete(f"{KEYS}/{key['id']}", headers=owner).status_code == 404


def test_a_head_that_was_let_in_a_moment_ago_does_not_outlive_its_key(
    caller: httpx.Client, upstream: Recording
) -> None:
    """The same bytes again and again are decided by a plan."""
    owner = as_(somebody())
    key = make(caller, owner)
    before = {status(caller, carrying(key), "/there/x") for _ in range(5)}

    caller.delete(f"{KEYS}/{key['id']}", headers=owner)

    assert before == {200}
    assert {status(caller, carrying(key), "/there/x") for _ in range(5)} == {401}


def test_who_is_shut_out_is_shut_out_with_keys_of_before_for_good(caller: httpx.Client, other: httpx.Client) -> None:
    owner = somebody()
    key = make(caller, as_(owner))
    assert status(other, carrying(key)) == 200

    revocation = withdraw(caller, sub=owner)
    here, elsewhere_s = status(caller, carrying(key)), until_refused_s(other, carrying(key))
    caller.delete(f"/api/v1/revocations/{revocation['id']}", headers=ADMIN)

    assert (here, elsewhere_s < WITHIN_S) == (401, True)
    assert status(caller, carrying(key)) == 401
    assert caller.get(KEYS, params={"user_id": owner}, headers=ADMIN).json()["items"] == []


def test_a_key_can_be_withdrawn_by_its_prefix(caller: httpx.Client) -> None:
    key = make(caller, as_(somebody()))
    assert status(caller, carrying(key)) == 200

    withdraw(caller, jti=key["prefix"])

    assert status(caller, carrying(key)) == 401


def test_keys_are_written_down_in_the_audit(caller: httpx.Client) -> None:
    owner = somebody()
    key = make(caller, as_(owner), scopes=["/v1"])
    caller.delete(f"{KEYS}/{key['id']}", headers=ADMIN)

    entries = caller.get("/api/v1/audit", params={"object_id": key["id"]}, headers=ADMIN).json()["items"]

    assert [(one["action"], one["who"], one["owner"]) for one in entries] == [
        ("key.deleted", "root", owner),
        ("key.created", owner, owner),
    ]
    assert key["key"] not in str(entries)


# ---- scopes


@pytest.mark.parametrize(
    ("scopes", "method", "path", "expected"),
    [
        (["/there"], "GET", "/there", 200),
        (["/there"], "DELETE", "/there/a/b", 200),
        (["/there"], "GET", "/therefore", 404),
        (["/there/a"], "GET", "/there/ab", 403),
        (["/there/a"], "GET", "/there/%61", 403),
        (["GET /there"], "GET", "/there/a", 200),
        (["GET /there"], "HEAD", "/there/a", 200),
        (["GET /there"], "POST", "/there/a", 403),
        (["GET,POST /there"], "POST", "/there/a", 200),
        (["/v1", "GET /api/v1/agents"], "GET", AGENTS, 200),
        (["/v1"], "GET", AGENTS, 403),
        (["/"], "GET", AGENTS, 200),
        (["/staff"], "GET", "/staff/x", 403),
        (["/v1"], "GET", "/open/x", 200),
    ],
    ids=str,
)
def test_a_key_opens_what_its_scopes_name(
    caller: httpx.Client, scopes: list[str], method: str, path: str, expected: int
) -> None:
    key = make(caller, as_(somebody()), scopes=scopes)

    session = caller.post(SESSIONS, headers=carrying(make(caller, as_(somebody()), scopes=[*scopes, SESSIONS])))

    assert status(caller, carrying(key), path, method) == expected
    assert status(caller, carrying(session.json()["access_token"]), path, method) == expected


def test_out_of_scope_says_what_is_in_it(caller: httpx.Client) -> None:
    answer = caller.get(AGENTS, headers=carrying(make(caller, as_(somebody()), scopes=["/v1", "GET /there"])))

    assert answer.json()["type"] == "scope-not-granted"
    assert "/v1, GET /there" in answer.json()["detail"]


# ---- sessions


def test_a_session_is_its_keys_owner_for_minutes_and_checked_with_published_keys(caller: httpx.Client) -> None:
    owner = somebody()
    key = make(caller, as_(owner))

    answer = caller.post(SESSIONS, headers=carrying(key))
    session = answer.json()
    keys = jwt.PyJWKSet.from_dict(caller.get("/.well-known/jwks.json").json())
    kid = jwt.get_unverified_header(session["access_token"])["kid"]
    claims = jwt.decode(session["access_token"], keys[kid].key, algorithms=["RS256"], audience="portico")

    assert (answer.status_code, session["token_type"], answer.headers["cache-control"]) == (201, "Bearer", "no-store")
    assert 290 <= session["expires_in"] <= 300
    assert (claims["iss"], claims["sub"], claims["role"]) == ("portico", owner, "user")
    chat = caller.post("/api/v1/chats/", json={}, headers=carrying(session["access_token"]))
    assert chat.json()["user_id"] == owner


def test_only_a_key_is_exchanged(caller: httpx.Client) -> None:
    session = caller.post(SESSIONS, headers=carrying(make(caller, as_(somebody())))).json()["access_token"]

    answers = [caller.post(SESSIONS, headers=headers) for headers in (as_(somebody()), carrying(session), {})]

    assert [one.json()["type"] for one in answers] == ["key-not-shown", "key-not-shown", "token-missing"]


def test_another_instance_takes_a_session_too(caller: httpx.Client, other: httpx.Client) -> None:
    session = caller.post(SESSIONS, headers=carrying(make(caller, as_(somebody())))).json()["access_token"]

    assert status(other, carrying(session)) == 200


# ---- towards services


def test_a_key_never_leaves(caller: httpx.Client, upstream: Recording) -> None:
    owner = somebody()
    key = make(caller, as_(owner))

    assert status(caller, carrying(key), "/there/x") == 200
    assert status(caller, carrying(key), "/token/x") == 200
    plain, with_token = upstream.requests[-2:]

    assert plain.values("authorization") == []
    assert plain.values("x-user-id") == [owner]
    (field,) = with_token.values("authorization")
    claims = jwt.decode(field.removeprefix("Bearer "), options={"verify_signature": False})
    assert (claims["iss"], claims["sub"], claims["exp"] - claims["iat"]) == ("portico", owner, 300)
    assert key["key"] not in str((plain, with_token))


def test_one_token_serves_many_requests_of_a_key(caller: httpx.Client, upstream: Recording) -> None:
    key = make(caller, as_(somebody()))

    for number in range(3):
        assert status(caller, carrying(key), f"/token/{number}") == 200

    assert len({seen.values("authorization")[0] for seen in upstream.requests[-3:]}) == 1


def test_an_agent_answers_who_shows_a_key(caller: httpx.Client) -> None:
    owner = somebody()
    key = make(caller, as_(owner))
    chat_id = open_chat(caller, owner)["id"]

    answer = caller.post(f"/api/v1/messages/{chat_id}/exchange", json={"content": "hi"}, headers=carrying(key))

    assert answer.status_code == 201
    assert len(history(caller, owner, chat_id)) == 2
    assert say(caller, owner, chat_id, "again").status_code == 201
