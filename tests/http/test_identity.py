"""Who is let in, as whom, from where and by which path: over real connections, through a real gateway."""

import base64
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from app.settings import Settings
from tests.builders import a_token, public_pem, signing_key, some_settings
from tests.gateway import running_gateway
from tests.http.recording import Answered, Recording, Seen, ask, recording, send

LISTED = "https://app.test"
DOORS = ("/public", "/common", "/staff", "/admin", "/private")
ROWS: tuple[dict[str, object], ...] = (
    *[dict[str, object](prefix=door, upstream="there", access=door.removeprefix("/").upper()) for door in DOORS],
    {"prefix": "/token", "upstream": "there", "forward_token": True, "forward_cookies": ["pg_refresh_token"]},
    {"prefix": "/stripped", "upstream": "there", "access": "PUBLIC", "strip": "/stripped"},
    {"prefix": "/slashes", "upstream": "there", "access": "PUBLIC", "encoded_slashes": True},
    {"prefix": "/down", "upstream": "down", "access": "PUBLIC"},
    {"path": "/posts", "methods": ["POST"], "upstream": "there", "access": "PUBLIC"},
)

type Field = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Gate:
    url: str
    upstream: Recording

    def ask(self, target: str | bytes, *fields: Field, method: str = "GET", body: bytes = b"") -> Answered:
        return ask(self.url, target, *fields, method=method, body=body)

    def passes(self, target: str, *fields: Field, method: str = "GET", body: bytes = b"") -> Seen:
        """Send a request that must be proxied; tell what the upstream saw of it."""
        before = len(self.upstream.requests)
        answer = self.ask(target, *fields, method=method, body=body)
        assert answer.status == 200, answer
        assert len(self.upstream.requests) == before + 1
        return self.upstream.requests[-1]


def settings_of(folder: Path, dsn: str, upstream: Recording, **values: Any) -> Settings:
    upstreams: dict[str, object] = {"there": {"url": upstream.url}, "down": {"url": "http://127.0.0.1:9"}}
    return some_settings(folder, dsn=dsn, upstreams=upstreams, routes=ROWS, cors_origins=(LISTED,), **values)


@pytest.fixture(scope="module")
def upstream() -> Iterator[Recording]:
    with recording() as kept:
        yield kept


@pytest.fixture(scope="module")
def gate(migrated_dsn: str, upstream: Recording, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """To this one the tests are strangers."""
    folder = tmp_path_factory.mktemp("gate")
    with running_gateway(settings_of(folder, migrated_dsn, upstream, trusted_proxies=("192.0.2.0/24",))) as url:
        yield Gate(url, upstream)


@pytest.fixture(scope="module")
def inner_gate(migrated_dsn: str, upstream: Recording, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """To this one, in PROD, the tests are a trusted proxy."""
    folder = tmp_path_factory.mktemp("inner")
    with running_gateway(settings_of(folder, migrated_dsn, upstream, mode="PROD", log_json=False)) as url:
        yield Gate(url, upstream)


def bearer(token: str | None = None, **claims: object) -> Field:
    return ("Authorization", f"Bearer {a_token(**claims) if token is None else token}")


# ---- tokens


def _encoded(*parts: bytes) -> str:
    return b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts).decode()


def _signed_by(algorithm: str) -> str:
    key = ec.generate_private_key(ec.SECP256R1()) if algorithm == "ES256" else signing_key()
    return jwt.encode({"sub": "1", "role": "admin", "exp": 2**40}, key, algorithm=algorithm)


def _hmac_with_the_pem() -> str:
    head, body = b'{"alg":"HS256","typ":"JWT"}', b'{"sub":"1","role":"admin","exp":99999999999}'
    signed = _encoded(head, body)
    mac = jwt.get_algorithm_by_name("HS256").sign(signed.encode(), public_pem().encode())
    return f"{signed}.{_encoded(mac)}"


def _with_header(**header: object) -> str:
    return jwt.encode({"sub": "1", "role": "admin", "exp": 2**40}, signing_key(), algorithm="RS256", headers=header)


NOW_S = int(time.time())
REFUSED_TOKENS: dict[str, tuple[list[Field], str]] = {
    "none at all": ([], "token-missing"),
    "Basic": ([("Authorization", "Basic dXNlcjpwYXNz")], "token-missing"),
    "empty bearer": ([("Authorization", "Bearer")], "token-invalid"),
    "nonsense": ([bearer("nonsense")], "token-invalid"),
    "dots": ([bearer("..")], "token-invalid"),
    "truncated": ([bearer(a_token()[:-10])], "token-invalid"),
    "padded": ([bearer(a_token() + "==")], "token-invalid"),
    "non-ASCII": ([bearer(a_token() + "\u00e9")], "token-invalid"),
    "two fields": ([bearer(), bearer()], "token-invalid"),
    "two cookies": ([("Cookie", f"pg_access_token={a_token()}; pg_access_token={a_token()}")], "token-invalid"),
    "cookie and bearer that differ": ([bearer(), ("Cookie", f"pg_access_token={a_token(sub='2')}")], "token-invalid"),
    "expired": ([bearer(exp=NOW_S - 60)], "token-expired"),
    "not yet valid": ([bearer(nbf=NOW_S + 3600)], "token-invalid"),
    "issued in the future": ([bearer(iat=NOW_S + 3600)], "token-invalid"),
    "no exp": ([bearer(exp=None)], "token-invalid"),
    "exp of 400 digits": ([bearer(exp=10**400)], "token-invalid"),
    "exp a text": ([bearer(exp="9999999999")], "token-invalid"),
    "exp infinite": ([bearer(exp=float("inf"))], "token-invalid"),
    "sub a space": ([bearer(sub="7 ")], "token-invalid"),
    "sub with a line break": ([bearer(sub="7\r\nX-User-Role: admin")], "token-invalid"),
    "no role": ([bearer(role=None)], "token-invalid"),
    "role a number": ([bearer(role=1)], "token-invalid"),
    "role a space": ([bearer(role="admin ")], "token-invalid"),
    "another key": ([bearer(key=rsa.generate_private_key(65537, 2048))], "token-invalid"),
    "HMAC with the public key": ([bearer(_hmac_with_the_pem())], "token-invalid"),
    **{
        f"alg {name}": ([bearer(_encoded(json.dumps({"alg": name}).encode(), b'{"sub":"1"}', b""))], "token-invalid")
        for name in ("none", "None", "NONE", "nOnE")
    },
    **{f"alg {name}": ([bearer(_signed_by(name))], "token-invalid") for name in ("RS384", "RS512", "PS256", "ES256")},
    **{
        f"header {name}": ([bearer(_with_header(**{name: value}))], "token-invalid")
        for name, value in (("jwk", {}), ("jku", "http://evil"), ("x5u", "http://evil"), ("x5c", []), ("crit", ["b64"]))
    },
}


@pytest.mark.parametrize(("fields", "type_"), REFUSED_TOKENS.values(), ids=REFUSED_TOKENS.keys())
def test_without_a_good_token_nobody_is_let_in(gate: Gate, fields: list[Field], type_: str) -> None:
    before = len(gate.upstream.requests)

    answer = gate.ask("/common/x", *fields)

    assert (answer.status, answer.type) == (401, type_)
    assert answer.values("www-authenticate") == ["Bearer"]
    assert len(gate.upstream.requests) == before


@pytest.mark.parametrize(("fields", "type_"), REFUSED_TOKENS.values(), ids=REFUSED_TOKENS.keys())
def test_on_a_public_row_a_bad_token_is_no_error_and_no_identity(gate: Gate, fields: list[Field], type_: str) -> None:
    seen = gate.passes("/public/x", *fields)

    assert seen.values("x-user-id") == []
    assert seen.values("x-user-role") == []
    assert seen.values("authorization") == []
    assert seen.values("cookie") == []


def test_on_a_public_row_a_good_token_is_an_identity(gate: Gate) -> None:
    seen = gate.passes("/public/x", bearer(sub="7", role="manager"))

    assert (seen.values("x-user-id"), seen.values("x-user-role")) == (["7"], ["manager"])


def test_a_token_of_64_kib_is_refused_without_a_fault_of_ours(gate: Gate) -> None:
    assert gate.ask("/common/x", bearer("A" * 65536)).status in {400, 401, 431}


def test_a_token_that_expired_a_moment_ago_is_still_good(gate: Gate) -> None:
    assert gate.ask("/common/x", bearer(exp=int(time.time()) - 3)).status == 200


def test_a_cookie_alone_and_a_cookie_like_the_bearer_are_good(gate: Gate) -> None:
    token = a_token(sub="7")

    for fields in ([("Cookie", f"pg_access_token={token}")], [bearer(token), ("Cookie", f"pg_access_token={token}")]):
        assert gate.passes("/common/x", *fields).values("x-user-id") == ["7"]


# ---- roles


@pytest.mark.parametrize(
    ("role", "outside_prod", "in_prod"),
    [
        ("guest", 1, 1),
        ("user", 2, 2),
        ("manager", 3, 3),
        ("admin", 4, 4),
        ("developer", 5, 1),
        ("wizard", 1, 1),
        (["guest", "user", "manager"], 3, 3),
    ],
    ids=str,
)
def test_a_role_opens_its_doors_and_no_other(
    gate: Gate, inner_gate: Gate, role: object, outside_prod: int, in_prod: int
) -> None:
    for gateway, count in ((gate, outside_prod), (inner_gate, in_prod)):
        answers = [gateway.ask(f"{door}/x", bearer(role=role)) for door in DOORS]

        assert [answer.type for answer in answers] == ["200"] * count + ["role-not-allowed"] * (5 - count)
        assert {answer.status for answer in answers[count:]} <= {403}


def test_of_many_roles_the_highest_is_sent(gate: Gate) -> None:
    seen = gate.passes("/common/x", bearer(sub="7", role=["user", "admin", "manager"]))

    assert seen.values("x-user-role") == ["admin"]


# ---- what the upstream sees


def test_no_client_can_say_who_it_is(gate: Gate) -> None:
    seen = gate.passes(
        "/common/x",
        bearer(sub="7", role="user"),
        ("X-User-Id", "1"),
        ("x_user_id", "1"),
        ("X-User_Role", "admin"),
        ("X-USER-ROLE", "admin"),
        ("X.User.Role", "admin"),
        ("X-User-Anything", "1"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X_Forwarded_For", "127.0.0.1"),
        ("Forwarded", "for=127.0.0.1"),
        ("X-Real-IP", "127.0.0.1"),
        ("X-Original-URL", "/admin"),
        ("X-Rewrite-URL", "/admin"),
        ("X-HTTP-Method-Override", "DELETE"),
        ("Connection", "x-user-id, x-user-role, x-request-id, x-forwarded-for"),
    )

    names = [name for name, _ in seen.fields]
    assert [name for name in names if "user" in name] == ["x-user-id", "x-user-role"]
    assert (seen.values("x-user-id"), seen.values("x-user-role")) == (["7"], ["user"])
    assert seen.values("x-forwarded-for") == ["127.0.0.1"]
    assert not {"x_forwarded_for", "forwarded", "x-real-ip", "connection"} & set(names)
    assert [name for name in names if "original" in name or "rewrite" in name or "override" in name] == []


def test_a_trailer_names_nobody(gate: Gate) -> None:
    head = "POST /public/x HTTP/1.1\r\nHost: gate.test\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    trailers = "X-User-Id: 1\r\nX_User_Role: admin\r\nX-Original-URL: /admin\r\n"

    answer = send(gate.url, f"{head}2\r\nhi\r\n0\r\n{trailers}\r\n".encode())

    seen = gate.upstream.requests[-1]
    assert answer.status == 200
    assert seen.body == b"hi"
    assert [name for name, _ in seen.fields if "user" in name or "original" in name] == []


def test_only_a_trusted_proxy_is_believed(gate: Gate, inner_gate: Gate) -> None:
    said = (
        ("X-Forwarded-For", "203.0.113.7"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "front.test"),
        ("X-Request-Id", "a-request-of-mine"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    )

    stranger, trusted = gate.passes("/public/x", *said), inner_gate.passes("/public/x", *said)

    (parent,) = trusted.values("traceparent")
    assert stranger.values("x-forwarded-for") == ["127.0.0.1"]
    assert stranger.values("x-forwarded-proto") == ["http"]
    assert stranger.values("x-forwarded-host") == ["gate.test"]
    assert stranger.values("x-request-id") != ["a-request-of-mine"]
    assert "0af7651916cd43dd8448eb211c80319c" not in stranger.values("traceparent")[0]
    assert trusted.values("x-forwarded-for") == ["203.0.113.7, 127.0.0.1"]
    assert trusted.values("x-forwarded-proto") == ["https"]
    assert trusted.values("x-forwarded-host") == ["front.test"]
    assert trusted.values("x-request-id") == ["a-request-of-mine"]
    assert re.fullmatch("00-0af7651916cd43dd8448eb211c80319c-(?!b7ad6b7169203331)[0-9a-f]{16}-01", parent)


def test_the_session_stays_here_unless_the_row_forwards_it(gate: Gate) -> None:
    token = a_token(sub="7")
    cookie = ("Cookie", f"a=1; pg_access_token={token}; pg_refresh_token=r; nameless; b=2; b=3")

    kept, forwarded = gate.passes("/common/x", cookie), gate.passes("/token/x", cookie)

    assert kept.values("cookie") == ["a=1; nameless; b=2; b=3"]
    assert kept.values("authorization") == []
    assert forwarded.values("cookie") == ["a=1; pg_refresh_token=r; nameless; b=2; b=3"]
    assert forwarded.values("authorization") == [f"Bearer {token}"]


def test_an_answer_keeps_what_is_the_upstreams_and_loses_what_is_ours(gate: Gate) -> None:
    answer = gate.ask("/public/x")

    names = [name for name, _ in answer.fields]
    assert answer.values("set-cookie") == ["a=1", "b=2; HttpOnly"]
    assert not {"server", "x-powered-by", "x-hop"} & set(names)
    assert [name for name in names if name.startswith("access-control")] == []
    assert re.fullmatch("[0-9a-f]{32}", answer.values("x-request-id")[0])
    assert names.count("x-request-id") == names.count("content-length") == 1


# ---- paths


@pytest.mark.parametrize(
    ("target", "sent"),
    [
        ("/public", "/public"),
        ("/public/", "/public/"),
        ("/public/a%20b/%7Euser;v=1/@me?q=%2F..%00&x=//", "/public/a%20b/%7Euser;v=1/@me?q=%2F..%00&x=//"),
        ("/public/...", "/public/..."),
        ("/public/.well-known/x", "/public/.well-known/x"),
        ("/stripped/a%41/", "/a%41/"),
        ("/stripped", "/"),
        ("/slashes/a%2Fb%2fc", "/slashes/a%2Fb%2fc"),
    ],
)
def test_the_path_that_was_authorised_is_the_path_that_is_sent(gate: Gate, target: str, sent: str) -> None:
    assert gate.passes(target).line == f"GET {sent} HTTP/1.1"


@pytest.mark.parametrize(
    "target",
    [
        b"//public/x",
        b"/public//x",
        b"/public/../admin",
        b"/public/./x",
        b"/public/..",
        b"/public/%2e%2e/admin",
        b"/public/.%2E/admin",
        b"/public/..;/admin",
        b"/public/..;a=b/admin",
        b"/public/%2e%2e%3b/admin",
        b"/public/a%2Fb",
        b"/public/a%5cb",
        b"/public/a\\b",
        b"/public/a%00b",
        b"/public/a%0d%0ab",
        b"/public/a%7f",
        b"/public/%",
        b"/public/%4",
        b"/public/%gg",
        b"/public/%c0%ae%c0%ae/admin",
        b"/public/%ff",
        b"/public/caf\xc3\xa9",
        b"/public/a\x01b",
        b"/public/a<b>",
        b"/public/;x/y",
        b"/slashes/..%2fadmin",
        b"/slashes/a%2f%2e%2e%2fadmin",
        b"/slashes%2fx",
        b"/%70ublic/x",
        b"/adm%69n/x",
        b"/public/x?a=\xff",
        b"*",
        b"public/x",
        b"",
    ],
    ids=repr,
)
def test_a_path_with_two_meanings_reaches_nobody(gate: Gate, target: bytes) -> None:
    before = len(gate.upstream.requests)

    answer = gate.ask(target, bearer(role="admin"))

    assert answer.status == 400
    assert len(gate.upstream.requests) == before


def test_options_of_the_whole_gateway_names_the_methods(gate: Gate) -> None:
    answer = gate.ask("*", method="OPTIONS")

    assert answer.status == 204
    assert "PATCH" in answer.values("allow")[0]


@pytest.mark.parametrize("method", ["TRACE", "PROPFIND", "get"])
def test_a_method_that_is_not_listed_reaches_nobody(gate: Gate, method: str) -> None:
    before = len(gate.upstream.requests)

    answer = gate.ask("/public/x", method=method)

    assert answer.status in {400, 405}
    assert len(gate.upstream.requests) == before


# ---- origins


@pytest.mark.parametrize(
    ("fields", "allowed"),
    [
        ([], False),
        ([("Sec-Fetch-Site", "same-origin")], True),
        ([("Sec-Fetch-Site", "same-site")], False),
        ([("Sec-Fetch-Site", "cross-site")], False),
        ([("Origin", "http://gate.test")], True),
        ([("Origin", LISTED), ("Sec-Fetch-Site", "cross-site")], True),
        ([("Origin", "null")], False),
        ([("Origin", "https://evil.test")], False),
        ([("Origin", "https://evil.test"), ("X-Forwarded-Host", "evil.test")], False),
    ],
    ids=str,
)
def test_a_cookie_that_changes_something_must_come_from_here(gate: Gate, fields: list[Field], *, allowed: bool) -> None:
    cookie = ("Cookie", f"pg_access_token={a_token()}")

    answer = gate.ask("/common/x", cookie, *fields, method="POST")

    assert answer.type == ("200" if allowed else "origin-not-allowed")
    assert gate.ask("/common/x", cookie, *fields).status == 200
    assert gate.ask("/common/x", bearer(), *fields, method="POST").status == 200


PREFLIGHT = (("Access-Control-Request-Method", "POST"), ("Access-Control-Request-Headers", "authorization, x-a"))


@pytest.mark.parametrize("target", ["/common/x", "/admin/x", "/api/v1/chats/"])
def test_a_listed_origins_preflight_needs_no_token(gate: Gate, target: str) -> None:
    answer = gate.ask(target, ("Origin", LISTED), *PREFLIGHT, method="OPTIONS")

    assert answer.status == 204
    assert answer.values("access-control-allow-origin") == [LISTED]
    assert answer.values("access-control-allow-credentials") == ["true"]
    assert "POST" in answer.values("access-control-allow-methods")[0]
    assert answer.values("access-control-allow-headers") == ["authorization, x-a"]
    assert answer.values("vary") == ["Origin"]


def test_a_preflight_is_answered_from_the_rows_methods(gate: Gate) -> None:
    answer = gate.ask("/posts", ("Origin", LISTED), *PREFLIGHT, method="OPTIONS")

    assert answer.values("access-control-allow-methods") == ["POST"]


@pytest.mark.parametrize("origin", ["https://evil.test", "null", "https://app.test.evil"])
def test_another_origins_preflight_is_a_request_like_any(gate: Gate, origin: str) -> None:
    before = len(gate.upstream.requests)

    refused = gate.ask("/common/x", ("Origin", origin), *PREFLIGHT, method="OPTIONS")
    not_taken = gate.ask("/posts", ("Origin", origin), *PREFLIGHT, method="OPTIONS")

    assert (refused.status, not_taken.status) == (401, 405)
    assert [name for name, _ in (*refused.fields, *not_taken.fields) if name.startswith("access-control")] == []
    assert len(gate.upstream.requests) == before


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/public/x", 200),
        ("/api/health/ping", 204),
        ("/nowhere", 404),
        ("/common/x", 401),
        ("/public/%00", 400),
        ("/down/x", 502),
        ("/posts", 405),
    ],
)
def test_a_listed_origin_may_read_every_answer_and_no_other_any(gate: Gate, target: str, status: int) -> None:
    listed, other = gate.ask(target, ("Origin", LISTED)), gate.ask(target, ("Origin", "https://evil.test"))

    assert (listed.status, other.status) == (status, status)
    assert listed.values("access-control-allow-origin") == [LISTED]
    assert listed.values("access-control-allow-methods") == []
    assert other.values("access-control-allow-origin") == []
    assert listed.values("vary")[-1] == other.values("vary")[-1] == "Origin"


# ---- the request id


@pytest.mark.parametrize("target", ["/public/x", "/api/health/ping", "/nowhere", "/common/x", "/public/..", "/down/x"])
def test_every_answer_carries_an_id_and_a_problem_names_it(inner_gate: Gate, target: str) -> None:
    kept = inner_gate.ask(target, ("X-Request-Id", "a-request-of-mine"))
    replaced = inner_gate.ask(target, ("X-Request-Id", "bad id"))

    assert kept.values("x-request-id") == ["a-request-of-mine"]
    assert re.fullmatch("[0-9a-f]{32}", replaced.values("x-request-id")[0])
    if kept.status >= 400:
        assert json.loads(kept.body)["request_id"] == "a-request-of-mine"


def test_a_strangers_id_is_not_kept(gate: Gate) -> None:
    answer = gate.ask("/public/x", ("X-Request-Id", "a-request-of-mine"))

    assert answer.values("x-request-id") != ["a-request-of-mine"]
    assert gate.upstream.requests[-1].values("x-request-id") == answer.values("x-request-id")
