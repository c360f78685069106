import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import jwt
import pytest
from portico_fleet.auth.accounts import SCHEMA as ACCOUNTS_SCHEMA
from portico_fleet.auth.accounts import Accounts
from portico_fleet.auth.sessions import SCHEMA as SESSIONS_SCHEMA
from portico_fleet.auth.sessions import RefreshRefused, Sessions
from portico_fleet.store import Store

from app.kernel.ids import new_run_id
from tests.builders import a_run_token
from tests.fleet.programs import as_user, is_problem, running

SESSIONS = "/api/v1/auth/sessions"
PASSWORD = "correct horse"


@pytest.fixture(scope="module")
def auth(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    flags = ["--admin-email", "Root@Example.org", "--admin-password", PASSWORD]
    with running("auth", tmp_path_factory.mktemp("auth"), *flags) as program:
        yield program.client


@pytest.fixture(autouse=True)
def _fresh_cookie_jar(auth: httpx.Client) -> None:
    auth.cookies.clear()


@pytest.fixture(scope="module")
def user(auth: httpx.Client) -> dict[str, Any]:  # Any: a JSON object
    """Somebody for the tests that do not mind what other sessions there are; hashing a password takes a while."""
    return registered(auth)


def registered(auth: httpx.Client) -> dict[str, Any]:  # Any: a JSON object
    answer = auth.post("/api/v1/users/register", json={"email": f"{uuid4().hex}@example.org", "password": PASSWORD})
    assert answer.status_code == 201
    return dict(answer.json())


def logged_in(auth: httpx.Client, email: str) -> dict[str, Any]:  # Any: a JSON object
    """Log in and forget the cookies, so that each test says itself which it sends."""
    answer = auth.post(SESSIONS, json={"email": email, "password": PASSWORD})
    assert answer.status_code == 200
    auth.cookies.clear()
    return dict(answer.json())


def refreshed(auth: httpx.Client, token: str) -> httpx.Response:
    answer = auth.put(SESSIONS, json={"refresh_token": token})
    auth.cookies.clear()
    return answer


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        pytest.param({"email": "a@example.org", "password": PASSWORD, "role": "admin"}, "role", id="a chosen role"),
        pytest.param({"email": "nobody", "password": PASSWORD}, "email", id="no email"),
        pytest.param({"email": "a@example.org", "password": "short"}, "password", id="a short password"),
        pytest.param({"email": "a@example.org"}, "password", id="no password"),
        pytest.param([], "body", id="an array"),
    ],
)
def test_a_registration_that_is_not_one_names_the_field(auth: httpx.Client, body: object, field: str) -> None:
    answer = auth.post("/api/v1/users/register", json=body)

    assert is_problem(answer, 400, "validation-failed")
    assert field in str(answer.json())


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"email": "\xff"}', b'{"email": "\\ud800"}', b"[" * 100_000])
def test_bytes_that_are_no_json_are_refused(auth: httpx.Client, content: bytes) -> None:
    answer = auth.post("/api/v1/users/register", content=content)

    assert is_problem(answer, 400, "validation-failed")


def test_a_body_above_the_limit_is_refused(auth: httpx.Client) -> None:
    answer = auth.post("/api/v1/users/register", content=b" " * (1024 * 1024 + 1))

    assert is_problem(answer, 413, "body-too-large")


def test_an_email_registers_once_in_any_case(auth: httpx.Client, user: dict[str, Any]) -> None:
    answer = auth.post("/api/v1/users/register", json={"email": user["email"].upper(), "password": PASSWORD})

    assert is_problem(answer, 409, "email-taken")


def test_who_registers_is_a_user(auth: httpx.Client) -> None:
    user = registered(auth)

    assert user == {"id": user["id"], "email": user["email"], "role": "user"}
    assert isinstance(user["id"], int)


def test_a_wrong_password_and_an_unknown_email_get_the_same_answer(auth: httpx.Client, user: dict[str, Any]) -> None:

    wrong = auth.post(SESSIONS, json={"email": user["email"], "password": "something else"})
    unknown = auth.post(SESSIONS, json={"email": "unknown@example.org", "password": PASSWORD})

    assert is_problem(wrong, 401, "credentials-wrong")
    assert wrong.json() == unknown.json()
    assert wrong.headers["www-authenticate"] == "Bearer"
    assert "set-cookie" not in wrong.headers


def test_a_login_gives_two_cookies_of_their_own_scope(auth: httpx.Client, user: dict[str, Any]) -> None:

    answer = auth.post(SESSIONS, json={"email": user["email"], "password": PASSWORD})

    access, refresh = answer.headers.get_list("set-cookie")
    body = answer.json()
    assert access.startswith(f"pg_access_token={body['access_token']};")
    assert refresh.startswith(f"pg_refresh_token={body['refresh_token']};")
    assert _attributes(access) == {"HttpOnly", "Max-Age=900", "Path=/", "SameSite=lax"}
    assert _attributes(refresh) == {"HttpOnly", "Max-Age=2592000", "Path=/api/v1/auth/sessions", "SameSite=strict"}
    assert (body["token_type"], body["expires_in"], body["user"]) == ("Bearer", 900, user)
    assert answer.headers["cache-control"] == "no-store"


def test_cookies_are_secure_when_the_browser_came_by_https(auth: httpx.Client, user: dict[str, Any]) -> None:

    answer = auth.post(
        SESSIONS, json={"email": user["email"], "password": PASSWORD}, headers={"X-Forwarded-Proto": "https"}
    )

    assert all("Secure" in _attributes(cookie) for cookie in answer.headers.get_list("set-cookie"))


def test_the_published_key_verifies_the_token(auth: httpx.Client, user: dict[str, Any]) -> None:
    session = logged_in(auth, user["email"])

    published = auth.get("/.well-known/jwks.json").json()

    key = jwt.PyJWKSet.from_dict(published)[jwt.get_unverified_header(session["access_token"])["kid"]]
    claims = jwt.decode(
        session["access_token"], key, algorithms=["RS256"], audience="portico", issuer="portico-demo-auth"
    )
    assert (claims["sub"], claims["role"]) == (str(user["id"]), "user")
    assert {"sid", "jti", "iat", "nbf"} <= claims.keys()
    assert claims["exp"] - claims["iat"] == 900
    assert {key: published["keys"][0][key] for key in ("kty", "use", "alg", "key_ops")} == {
        "kty": "RSA",
        "use": "sig",
        "alg": "RS256",
        "key_ops": ["verify"],
    }
    assert "d" not in published["keys"][0]


@pytest.mark.parametrize("content", [b"", b"7", b"null", b'{"refresh_token": "made up"}'])
def test_a_refresh_without_a_token_that_is_known_is_refused(auth: httpx.Client, content: bytes) -> None:
    answer = auth.put(SESSIONS, content=content)

    assert is_problem(answer, 401, "refresh-token-invalid")


@pytest.mark.parametrize("content", [b"", b"7"])
def test_a_refresh_by_cookie_ignores_the_number_first_clients_send(
    auth: httpx.Client, user: dict[str, Any], content: bytes
) -> None:
    session = logged_in(auth, user["email"])

    answer = auth.put(SESSIONS, content=content, headers={"Cookie": f"pg_refresh_token={session['refresh_token']}"})

    assert answer.status_code == 200
    assert answer.json()["refresh_token"] != session["refresh_token"]
    assert len(answer.headers.get_list("set-cookie")) == 2


def test_a_refresh_keeps_the_session(auth: httpx.Client, user: dict[str, Any]) -> None:
    session = logged_in(auth, user["email"])

    answer = refreshed(auth, session["refresh_token"])

    assert answer.json()["user"] == session["user"]
    assert _claims(answer.json()["access_token"])["sid"] == _claims(session["access_token"])["sid"]
    assert _claims(answer.json()["access_token"])["jti"] != _claims(session["access_token"])["jti"]


def test_a_refresh_token_used_twice_ends_its_whole_session(auth: httpx.Client, user: dict[str, Any]) -> None:
    first = logged_in(auth, user["email"])
    second = refreshed(auth, first["refresh_token"]).json()

    reused = refreshed(auth, first["refresh_token"])
    later = refreshed(auth, second["refresh_token"])

    assert is_problem(reused, 401, "refresh-token-invalid")
    assert is_problem(later, 401, "refresh-token-invalid")
    assert auth.get("/api/v1/users/me", headers=bearer(second["access_token"])).status_code == 401


def test_another_session_of_the_user_outlives_the_reuse(auth: httpx.Client, user: dict[str, Any]) -> None:
    stolen, other = logged_in(auth, user["email"]), logged_in(auth, user["email"])
    refreshed(auth, stolen["refresh_token"])
    refreshed(auth, stolen["refresh_token"])

    answer = refreshed(auth, other["refresh_token"])

    assert answer.status_code == 200


def test_a_logout_that_names_no_session_is_refused(auth: httpx.Client) -> None:
    answer = auth.delete(SESSIONS, headers=as_user("1"))

    assert is_problem(answer, 401, "unauthenticated")


@pytest.mark.parametrize("way", ["cookie", "body", "access token"])
def test_a_logout_ends_one_session_and_clears_the_cookies(auth: httpx.Client, user: dict[str, Any], way: str) -> None:
    session, other = logged_in(auth, user["email"]), logged_in(auth, user["email"])

    if way == "cookie":
        answer = auth.delete(SESSIONS, headers={"Cookie": f"pg_refresh_token={session['refresh_token']}"})
    elif way == "body":
        answer = auth.request("DELETE", SESSIONS, json={"refresh_token": session["refresh_token"]})
    else:
        answer = auth.delete(SESSIONS, headers=bearer(session["access_token"]))

    assert answer.status_code == 204
    assert [cookie.split(";")[0] for cookie in answer.headers.get_list("set-cookie")] == [
        'pg_access_token=""',
        'pg_refresh_token=""',
    ]
    assert all("Max-Age=0" in _attributes(cookie) for cookie in answer.headers.get_list("set-cookie"))
    assert refreshed(auth, session["refresh_token"]).status_code == 401
    assert refreshed(auth, other["refresh_token"]).status_code == 200


def test_a_run_is_known_as_its_user_and_is_of_no_session(auth: httpx.Client) -> None:
    """As the gateway passes on what an agent asks: the user in the fields it sets, the run's token in the other one."""
    somebody = registered(auth)
    logged_in(auth, somebody["email"])
    by_a_run = as_user(str(somebody["id"])) | bearer(a_run_token(new_run_id(), sub=str(somebody["id"])))

    profile = auth.get("/api/v1/users/me", headers=by_a_run)
    logout = auth.delete(SESSIONS, headers=by_a_run)

    assert (profile.status_code, profile.json()["id"]) == (200, somebody["id"])
    assert is_problem(logout, 401, "token-invalid")
    assert auth.get("/api/v1/users/me", headers=by_a_run).json()["active_sessions"] == 1


@pytest.mark.parametrize("way", ["the gateway's word", "access token"])
def test_a_logout_everywhere_ends_every_session_of_that_user_only(
    auth: httpx.Client, user: dict[str, Any], way: str
) -> None:
    stranger = {"email": "root@example.org"}
    one, two, foreign = (logged_in(auth, who["email"]) for who in (user, user, stranger))
    headers = bearer(one["access_token"]) if way == "access token" else as_user(str(user["id"]))

    answer = auth.delete(f"{SESSIONS}/all", headers=headers)

    assert answer.status_code == 204
    assert refreshed(auth, one["refresh_token"]).status_code == 401
    assert refreshed(auth, two["refresh_token"]).status_code == 401
    assert refreshed(auth, foreign["refresh_token"]).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({}, 401, id="anonymous"),
        pytest.param({"Authorization": "Bearer a.b.c"}, 401, id="no token"),
        pytest.param(
            bearer(jwt.encode({"sub": "1", "sid": "x", "exp": 9999999999}, "k" * 32, headers={"kid": "x"})),
            401,
            id="signed elsewhere",
        ),
        pytest.param(as_user("999999"), 404, id="unknown user"),
        pytest.param(as_user("somebody"), 404, id="foreign kind of user"),
    ],
)
def test_a_profile_is_for_those_who_are_known(auth: httpx.Client, headers: dict[str, str], status: int) -> None:
    answer = auth.get("/api/v1/users/me", headers=headers)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_profile_counts_the_open_sessions_however_one_is_known(auth: httpx.Client) -> None:
    somebody = registered(auth)
    logged_in(auth, somebody["email"])
    session = logged_in(auth, somebody["email"])

    by_gateway = auth.get("/api/v1/users/me", headers=as_user(str(somebody["id"]))).json()
    by_token = auth.get("/api/v1/users/me", headers=bearer(session["access_token"])).json()

    assert by_gateway == {**somebody, "created_at": by_gateway["created_at"], "active_sessions": 2}
    assert by_token == by_gateway


def test_the_seeded_admin_is_an_admin(auth: httpx.Client) -> None:
    session = logged_in(auth, "root@example.org")

    assert session["user"]["role"] == "admin"
    assert _claims(session["access_token"])["role"] == "admin"


def test_accounts_sessions_and_keys_outlive_a_restart_and_a_new_key_joins_the_old(tmp_path: Path) -> None:
    admin = {"ADMIN_EMAIL": "root@example.org", "ADMIN_PASSWORD": PASSWORD}
    opener = {"X-Forwarded-For": "2001:db8:85a3::8a2e:370:7334", "User-Agent": "a browser"}
    with running("auth", tmp_path, env=admin, headers=opener) as program:
        session = logged_in(program.client, "root@example.org")
        old_kid = program.client.get("/.well-known/jwks.json").json()["keys"][0]["kid"]
        assert program.stop() == 0

    with running("auth", tmp_path, "--rotate-key", env={**admin, "ADMIN_PASSWORD": "another one"}) as program:
        profile = program.client.get("/api/v1/users/me", headers=bearer(session["access_token"]))
        again = refreshed(program.client, session["refresh_token"])
        kids = [key["kid"] for key in program.client.get("/.well-known/jwks.json").json()["keys"]]

    with closing(sqlite3.connect(tmp_path / "auth.sqlite3")) as db:
        openers = db.execute("SELECT ip, user_agent FROM sessions").fetchall()
    assert openers == [("2001:db8:85a3::8a2e:370:7334", "a browser")]
    assert profile.status_code == 200
    assert (len(kids), kids[1]) == (2, old_kid)
    assert jwt.get_unverified_header(again.json()["access_token"])["kid"] == kids[0]
    assert {file.stat().st_mode & 0o777 for file in (tmp_path / "auth-keys").iterdir()} == {0o600}
    assert PASSWORD.encode() not in (tmp_path / "auth.sqlite3").read_bytes()
    assert session["refresh_token"].encode() not in (tmp_path / "auth.sqlite3").read_bytes()


async def test_a_refresh_token_expires_with_its_session(tmp_path: Path) -> None:
    store = Store(tmp_path / "auth.sqlite3", ACCOUNTS_SCHEMA + SESSIONS_SCHEMA)
    account = await Accounts(store).add("a@example.org", password_hash="", now_s=0)
    sessions = Sessions(store, ttl_s=100)
    opened = await sessions.open(account.id, user_agent="", ip="2001:db8::1", now_s=1000)

    renewed = await sessions.rotate(opened.refresh_token, now_s=1099)

    assert renewed.expires_at_s == 1100
    with pytest.raises(RefreshRefused):
        await sessions.rotate(renewed.refresh_token, now_s=1100)
    store.close()


async def test_the_oldest_session_ends_when_there_are_too_many(tmp_path: Path) -> None:
    store = Store(tmp_path / "auth.sqlite3", ACCOUNTS_SCHEMA + SESSIONS_SCHEMA)
    account = await Accounts(store).add("a@example.org", password_hash="", now_s=0)
    sessions = Sessions(store, ttl_s=1000)

    opened = [await sessions.open(account.id, user_agent="", ip="", now_s=number) for number in range(101)]

    assert await sessions.count_live(account.id, now_s=101) == 100
    assert not await sessions.is_live(opened[0].session_id, now_s=101)
    assert await sessions.is_live(opened[1].session_id, now_s=101)
    store.close()


def _attributes(cookie: str) -> set[str]:
    return set(cookie.split("; ")[1:])


def _claims(token: str) -> dict[str, Any]:  # Any: a JSON object
    return dict(jwt.decode(token, options={"verify_signature": False}))
