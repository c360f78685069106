"""S1 Multi-Agent Service: sign-in, access, the proxied services and health, asked of the demo (docs/originals.md)."""

import uuid
from typing import Any

import httpx
import jwt
import pytest

from tests.builders import a_token
from tests.compat.conftest import LISTED_ORIGIN, Caller, Fleet
from tests.compat.journeys import (
    CALENDARS,
    CHATS,
    MESSAGES,
    SESSIONS,
    bearing,
    log_in,
    make,
    register,
    seen,
)
from tests.e2e.program import Program, becomes_true
from tests.e2e.upstream import PLAIN, RawUpstream

# --- health


def test_ping_answers_without_a_token(visitor: httpx.Client) -> None:
    answer = visitor.get("/api/health/ping")

    assert (answer.status_code, answer.content) == (204, b"")


def test_ready_answers_while_everything_required_is_up(visitor: httpx.Client) -> None:
    answer = visitor.get("/api/health/ready")

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_the_detailed_health_lists_every_dependency(visitor: httpx.Client, caller: Caller, demo: Program) -> None:
    path, staff = "/api/health/service_health", caller("manager")
    demo.awaits(lambda: {one["status"] for one in staff.get(path).json()["deps"]} == {"ok"})

    told, hidden = staff.get(path), visitor.get(path)

    found = {(one["type"], one["name"]): one["details"] for one in told.json()["deps"]}
    agents = {("agent", name) for name in ("agenda", "assistant", "echo", "patient", "shout")}
    upstreams = {("http", name) for name in ("auth", "agenda", "analytics")}
    expected = agents | upstreams | {("postgres", "database"), ("system", "resources")}
    assert found.keys() >= expected
    assert all(found[key] for key in expected)
    assert found["postgres", "database"].startswith("PostgreSQL 18")
    assert told.json()["status"] == hidden.json()["status"] == "ok"
    assert {one["details"] for one in hidden.json()["deps"]} == {None}


# --- auth, through the proxy


def test_register_creates_a_user_who_cannot_choose_a_role(visitor: httpx.Client) -> None:
    account = {"email": f"{uuid.uuid4().hex}@example.com", "password": "a long password"}

    ambitious = visitor.post("/api/v1/auth/users/register", json=account | {"role": "admin"})
    modest = visitor.post("/api/v1/auth/users/register", json=account)

    assert ambitious.status_code == 400
    assert modest.status_code == 201
    assert modest.json() == {"id": modest.json()["id"], "email": account["email"], "role": "user"}


def test_login_answers_the_profile_and_sets_both_cookies(visitor: httpx.Client) -> None:
    account = register(visitor)

    answer = visitor.post(SESSIONS, json=account)

    session = answer.json()
    claims = jwt.decode(session["access_token"], options={"verify_signature": False})
    cookies = {line.split("=")[0]: line.lower() for line in answer.headers.get_list("set-cookie")}
    assert session["user"] == {"id": int(claims["sub"]), "email": account["email"], "role": "user"}
    assert jwt.get_unverified_header(session["access_token"])["alg"] == "RS256"
    assert cookies.keys() == {"pg_access_token", "pg_refresh_token"}
    assert all("httponly" in line for line in cookies.values())


def test_refresh_rotates_the_tokens(visitor: httpx.Client) -> None:
    first = log_in(visitor, register(visitor))

    second = visitor.put(SESSIONS, json={"refresh_token": first["refresh_token"]})
    replayed = visitor.put(SESSIONS, headers={"cookie": f"pg_refresh_token={first['refresh_token']}"})

    assert second.status_code == 200
    assert second.json()["refresh_token"] != first["refresh_token"]
    assert second.json()["access_token"] != first["access_token"]
    assert replayed.status_code == 401


def test_logout_ends_the_session(visitor: httpx.Client) -> None:
    session = log_in(visitor, register(visitor))

    gone = visitor.delete(SESSIONS, headers=bearing(session["access_token"]))

    refused = visitor.put(SESSIONS, json={"refresh_token": session["refresh_token"]})
    assert gone.status_code == 204
    assert [line.split("=")[1].split(";")[0].strip('"') for line in gone.headers.get_list("set-cookie")] == ["", ""]
    assert refused.status_code == 401


def test_logout_everywhere_ends_every_session(visitor: httpx.Client) -> None:
    account = register(visitor)
    sessions = [log_in(visitor, account), log_in(visitor, account)]

    gone = visitor.delete(f"{SESSIONS}/all", headers=bearing(sessions[0]["access_token"]))

    refused = [visitor.put(SESSIONS, json={"refresh_token": one["refresh_token"]}).status_code for one in sessions]
    assert gone.status_code == 204
    assert refused == [401, 401]


def test_logout_everywhere_withdraws_the_access_tokens_and_a_new_login_is_let_in(visitor: httpx.Client) -> None:
    account = register(visitor)
    tokens = [log_in(visitor, account)["access_token"] for _ in range(2)]
    before = [visitor.get(CHATS, headers=bearing(token)).status_code for token in tokens]

    visitor.delete(f"{SESSIONS}/all", headers=bearing(tokens[0]))

    again = log_in(visitor, account)["access_token"]
    assert before == [200, 200]
    assert becomes_true(lambda: all("withdrawn" in why_refused(visitor, token) for token in tokens), within_s=1)
    assert visitor.get(CHATS, headers=bearing(again)).status_code == 200


def why_refused(visitor: httpx.Client, token: str) -> str:
    return str(visitor.get(CHATS, headers=bearing(token)).json().get("detail"))


def test_me_answers_the_profile_of_the_caller(visitor: httpx.Client) -> None:
    account = register(visitor)
    session = log_in(visitor, account)

    answer = visitor.get("/api/v1/auth/users/me", headers=bearing(session["access_token"]))

    assert answer.status_code == 200
    assert answer.json().items() >= session["user"].items()
    assert answer.json()["active_sessions"] == 1


# --- who may enter


@pytest.mark.parametrize("path", [CHATS, CALENDARS, "/api/v1/auth/users/me", "/api/v1/snapshot/"])
def test_a_protected_path_without_a_token_is_unauthenticated(visitor: httpx.Client, path: str) -> None:
    answer = visitor.get(path)

    assert seen(answer) == (401, "token-missing")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_a_token_of_another_key_or_algorithm_is_refused(visitor: httpx.Client, fleet: Fleet) -> None:
    claims: dict[str, Any] = {"iss": "portico-demo-auth", "aud": "portico", "sub": "1", "role": "admin", "exp": 2**33}
    keys = httpx.get(f"{fleet.auth}/.well-known/jwks.json").json()["keys"]
    forged = [
        a_token(**claims),
        jwt.encode(claims, keys[0]["n"], algorithm="HS256", headers={"kid": keys[0]["kid"]}),
        jwt.encode(claims, "", algorithm="none"),
    ]

    answers = [visitor.get(path, headers=bearing(token)) for token in forged for path in (CHATS, CALENDARS)]

    assert {seen(answer) for answer in answers} == {(401, "token-invalid")}


def test_a_role_outside_the_group_is_forbidden(caller: Caller) -> None:
    guest, user, manager = caller("guest"), caller("user"), caller("manager")

    common = [one.get(path) for one in (guest, user) for path in (CHATS, CALENDARS)]
    staff = [one.get(MESSAGES) for one in (user, manager)]

    assert [answer.status_code for answer in common] == [403, 403, 200, 200]
    assert [answer.status_code for answer in staff] == [403, 200]
    assert seen(common[0]) == seen(common[1]) == seen(staff[0]) == (403, "role-not-allowed")


def test_a_forged_identity_header_changes_nothing(caller: Caller) -> None:
    victim, thief = caller(sub=f"victim-{uuid.uuid4()}"), caller(sub=f"thief-{uuid.uuid4()}")
    kept = make(victim, CALENDARS, name="Private")
    forged = {"x-user-id": kept["userId"], "X_User_Id": kept["userId"], "x-user-role": "admin", "X-User-ROLE": "admin"}

    read = thief.get(f"{CALENDARS}{kept['id']}", headers=forged)
    made = thief.post(CALENDARS, json={"name": "Mine"}, headers=forged)
    everybodys = thief.get(MESSAGES, headers=forged)

    assert read.status_code == 404
    assert made.json()["userId"].startswith("thief-")
    assert everybodys.status_code == 403


def test_a_path_without_a_row_is_not_found(caller: Caller) -> None:
    admin = caller("admin")

    answers = [admin.get(path) for path in ("/", "/api/v2/chats/", "/api/v1x", "/.env")]

    assert {answer.status_code for answer in answers} == {404}
    assert {answer.headers["content-type"] for answer in answers} == {"application/problem+json"}


def test_listed_origins_and_no_others_get_cors_headers(visitor: httpx.Client) -> None:
    def ask(origin: str) -> list[httpx.Response]:
        preflight = {"origin": origin, "access-control-request-method": "GET"}
        return [
            visitor.options(CALENDARS, headers=preflight),
            visitor.get(CALENDARS, headers={"origin": origin}),
            visitor.get("/api/health/ping", headers={"origin": origin}),
        ]

    listed, unlisted = ask(LISTED_ORIGIN), ask("https://evil.example.com")

    assert [answer.status_code for answer in listed] == [204, 401, 204]
    assert {answer.headers["access-control-allow-origin"] for answer in listed} == {LISTED_ORIGIN}
    assert "GET" in listed[0].headers["access-control-allow-methods"]
    assert [answer.headers.get("access-control-allow-origin") for answer in unlisted] == [None, None, None]


def test_headers_cookies_and_paths_are_clean_on_both_sides(
    caller: Caller, production: Program, recorder: RawUpstream
) -> None:
    user = caller(sub="clean", url=production.url)
    recorder.answer = PLAIN.replace(
        b"connection: close",
        b"connection: close, x-hop\r\nx-hop: 1\r\nserver: old/1.0\r\naccess-control-allow-origin: *\r\n"
        b"set-cookie: a=1\r\nset-cookie: b=2",
    )
    token = user.headers["authorization"].partition(" ")[2]
    sent = {"x-user-id": "forged", "connection": "x-own", "x-own": "1"}
    cookies = {"cookie": f"theme=dark; pg_access_token={token}; pg_refresh_token=secret"}

    answer = user.get("/api/v1/recorder/a%20b?q=%2F", headers=sent | cookies)
    climbing = user.get("/api/v1/recorder/%2e%2e/chats")

    arrived = recorder.last_fields
    assert recorder.last_target == "/api/v1/a%20b?q=%2F"
    assert [value for name, value in arrived if name == "x-user-id"] == ["clean"]
    assert [value for name, value in arrived if name == "cookie"] == ["theme=dark"]
    assert dict(arrived)["x-request-id"] == answer.headers["x-request-id"]
    assert {"authorization", "x-own"} & dict(arrived).keys() == set()
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert {"server", "x-hop", "access-control-allow-origin"} & set(answer.headers) == set()
    assert climbing.status_code == 400


# --- the agenda, through the proxy


def test_calendars_are_listed(caller: Caller) -> None:
    user = caller()
    names = [make(user, CALENDARS, name=name)["name"] for name in ("Work", "Home")]

    answer = user.get(CALENDARS)

    assert answer.status_code == 200
    assert answer.json()["total"] == 2
    assert [calendar["name"] for calendar in answer.json()["items"]] == names


def test_a_calendar_is_created(caller: Caller) -> None:
    user = caller(sub="42")

    answer = user.post(CALENDARS, json={"name": "Work", "color": "#3366cc"})

    assert answer.status_code == 201
    assert answer.json().items() >= {"name": "Work", "color": "#3366cc", "userId": "42"}.items()


def test_a_calendar_is_read(caller: Caller) -> None:
    user = caller()
    made = make(user, CALENDARS, name="Work")

    answer = user.get(f"{CALENDARS}{made['id']}")

    assert (answer.status_code, answer.json()) == (200, made)


def test_a_calendar_is_changed(caller: Caller) -> None:
    user = caller()
    made = make(user, CALENDARS, name="Work")

    answer = user.patch(f"{CALENDARS}{made['id']}", json={"name": "Home"})

    assert answer.status_code == 200
    assert user.get(f"{CALENDARS}{made['id']}").json()["name"] == "Home"


def test_a_calendar_is_deleted(caller: Caller) -> None:
    user = caller()
    made = make(user, CALENDARS, name="Work")

    answer = user.delete(f"{CALENDARS}{made['id']}")

    assert answer.status_code == 204
    assert user.get(f"{CALENDARS}{made['id']}").status_code == 404


def test_components_are_kept_and_found_by_range(caller: Caller) -> None:
    user, components = caller(), "/api/v1/agenda/components/"
    calendar = make(user, CALENDARS, name="Work")
    times = {"dtstart": "2026-03-02T09:00:00Z", "dtend": "2026-03-02T10:00:00Z"}
    event = make(user, components, calendarId=calendar["id"], summary="Review", **times)

    inside = user.get(f"{components}by-range", params={"start_date": "2026-03-01", "end_date": "2026-03-03"})
    outside = user.get(f"{components}by-range", params={"start_date": "2026-04-01", "end_date": "2026-04-03"})

    assert [found["id"] for found in inside.json()["items"]] == [event["id"]]
    assert outside.json()["items"] == []
    assert user.get(f"{components}{event['id']}").json()["summary"] == "Review"


def test_categories_are_listed(caller: Caller) -> None:
    answer = caller().get("/api/v1/agenda/categories/")

    assert answer.status_code == 200
    assert {"Work", "Personal"} <= {category["name"] for category in answer.json()["items"]}


def test_the_agenda_segment_is_stripped(caller: Caller, fleet: Fleet) -> None:
    made = make(caller(sub="stripped"), CALENDARS, name="Work")

    there = httpx.get(f"{fleet.agenda}/api/v1/calendars/{made['id']}", headers={"x-user-id": "stripped"})
    unstripped = httpx.get(f"{fleet.agenda}{CALENDARS}{made['id']}", headers={"x-user-id": "stripped"})

    assert (there.status_code, there.json()["name"]) == (200, "Work")
    assert unstripped.status_code == 404


def test_snapshots_are_recorded_and_counted_through_the_front_door(caller: Caller) -> None:
    sub = uuid.uuid4().hex
    user = caller(sub=sub)

    kept = user.post("/api/v1/snapshot/", json={"user_id": sub, "message": "Hello"})
    counted = user.get("/api/v1/snapshot/counts")
    for_another = user.post("/api/v1/snapshot/", json={"user_id": "other", "message": "Hello"})

    assert kept.status_code == 201
    assert counted.json()["items"] == [{"user_id": sub, "count": 1}]
    assert for_another.status_code == 403
