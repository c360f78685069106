"""From an operation of an upstream back to the paths that lead to it; what is found is what the registry does."""

import time

import pytest

from app.edge.entrances import MAX_ENTRANCES, Entrances
from app.edge.routes import RouteRegistry
from app.infra.openapi.ports import Entrance
from app.kernel.identity import Access
from app.settings import GatewayFile

UPSTREAMS = {"agenda": {"url": "http://a"}, "based": {"url": "http://b/base/"}, "auth": {"url": "http://c"}}


def entrances(*routes: dict[str, object]) -> Entrances:
    rows = GatewayFile.model_validate({"upstreams": UPSTREAMS, "routes": routes})
    return Entrances.of(RouteRegistry.compile(rows.routes, rows.upstreams))


def paths(found: Entrances, upstream: str | None, method: str, path: str) -> list[str]:
    return [one.path for one in found(upstream, method, path)]


AGENDA = {"prefix": "/api/v1/agenda", "upstream": "agenda", "strip": "/agenda"}
REGISTER = {
    "path": "/api/v1/auth/users/register",
    "methods": ["POST"],
    "upstream": "auth",
    "access": "PUBLIC",
    "rewrite": [{"match": "^/api/v1/auth/users/register$", "to": "/api/v1/users/register"}],
}
AUTH = {
    "prefix": "/api/v1/auth",
    "upstream": "auth",
    "rewrite": [{"methods": ["GET"], "match": "^/api/v1/auth/users/me$", "to": "/api/v1/users/me"}],
}
LOCAL = {"prefix": "/api/v1", "local": True}


@pytest.mark.parametrize(
    ("routes", "upstream", "method", "path", "expected"),
    [
        ([AGENDA], "agenda", "GET", "/api/v1/calendars", ["/api/v1/agenda/calendars"]),
        ([AGENDA], "agenda", "GET", "/api/v1/calendars/{id}/events", ["/api/v1/agenda/calendars/{id}/events"]),
        ([AGENDA], "agenda", "GET", "/api/v1", ["/api/v1/agenda"]),
        ([AGENDA], "agenda", "GET", "/api/v2/calendars", []),
        ([AGENDA], "agenda", "GET", "/api/v1/agenda/x", ["/api/v1/agenda/agenda/x"]),
        ([AGENDA], "agenda", "TRACE", "/api/v1/calendars", []),
        ([AGENDA], "auth", "GET", "/api/v1/calendars", []),
        ([AGENDA], "agenda", "GET", "/api/v1/{a}-{b}.json", ["/api/v1/agenda/{a}-{b}.json"]),
        ([AGENDA], "agenda", "GET", "/api/v1/ö", []),
        ([AGENDA], "agenda", "GET", "/api/v1/../x", []),
        ([AGENDA], "agenda", "GET", "/api/v1/{unclosed", []),
        ([AGENDA], "agenda", "GET", "/api/v1/" + "{p}/" * 30, []),
        ([{"prefix": "/a", "upstream": "agenda", "strip": "/a"}], "agenda", "GET", "/", ["/a/", "/a"]),
        ([{"prefix": "/a", "upstream": "agenda", "strip": "/a"}], "agenda", "GET", "/x", ["/a/x"]),
        ([{"prefix": "/", "upstream": "agenda"}], "agenda", "GET", "/x/{id}", ["/x/{id}"]),
        ([{"path": "/x", "methods": ["GET"], "upstream": "agenda"}], "agenda", "GET", "/x", ["/x"]),
        ([{"path": "/x", "methods": ["GET"], "upstream": "agenda"}], "agenda", "PUT", "/x", []),
        ([{"path": "/x", "upstream": "agenda"}], "agenda", "GET", "/{id}", []),
        ([REGISTER, AUTH], "auth", "POST", "/api/v1/users/register", ["/api/v1/auth/users/register"]),
        ([REGISTER, AUTH], "auth", "GET", "/api/v1/users/me", ["/api/v1/auth/users/me"]),
        ([REGISTER, AUTH], "auth", "PUT", "/api/v1/users/me", []),
        ([REGISTER, AUTH], "auth", "POST", "/api/v1/auth/sessions", ["/api/v1/auth/sessions"]),
        ([LOCAL, AGENDA], None, "GET", "/api/v1/chats/{chat_id}", ["/api/v1/chats/{chat_id}"]),
        ([LOCAL, AGENDA], None, "GET", "/api/v1/agenda/x", []),
        ([LOCAL, AGENDA], None, "GET", "/metrics", []),
        (
            [{"prefix": "/b", "upstream": "based", "strip": "/b"}],
            "based",
            "GET",
            "/base/x",
            ["/b/x"],
        ),
        ([{"prefix": "/b", "upstream": "based", "strip": "/b"}], "based", "GET", "/x", ["/b/x"]),
        (
            [AGENDA, {"prefix": "/api/v1/calendars", "upstream": "agenda", "access": "ADMIN"}],
            "agenda",
            "GET",
            "/api/v1/calendars/{id}",
            ["/api/v1/calendars/{id}", "/api/v1/agenda/calendars/{id}"],
        ),
        (
            [AGENDA, {"prefix": "/api/v1/agenda/calendars", "local": True}],
            "agenda",
            "GET",
            "/api/v1/calendars/{id}",
            [],
        ),
    ],
)
def test_an_operation_is_offered_where_requests_reach_it(
    routes: list[dict[str, object]], upstream: str | None, method: str, path: str, expected: list[str]
) -> None:
    assert paths(entrances(*routes), upstream, method, path) == expected


@pytest.mark.parametrize(
    ("match", "to", "path", "expected"),
    [
        (r"/u/([^/]+)", r"/users/\1", "/users/{id}", ["/u/{id}"]),
        (r"/u/(\d+)/posts", r"/users/\1/p", "/users/{id}/p", ["/u/{id}/posts"]),
        (r"/u/([0-9a-f-]{36})", r"/users/\1", "/users/{id}", ["/u/{id}"]),
        (r"/u/(?P<who>\w+)/(?P<what>\w+)", r"/\g<what>/of/\g<who>", "/{a}/of/{b}", ["/u/{b}/{a}"]),
        (r"/u/(\w+)", r"/\1/\1", "/{a}/{b}", []),
        (r"/u/(.*)", r"/deep/\1", "/deep/{a}/{b}", ["/u/{a}/{b}"]),
        (r"/u/(\w+)", "/fixed", "/fixed", []),
        (r"/u/x\.json", "/list", "/list", ["/u/x.json"]),
        (r"/u/x.json", "/list", "/list", ["/u/x.json"]),
        (r"/u/(a|b)?", r"/x\1", "/xa", []),
        (r"/u/(?:a)", r"/x", "/x", []),
    ],
)
def test_a_rewrite_is_undone_where_it_can_be(match: str, to: str, path: str, expected: list[str]) -> None:
    found = entrances({"prefix": "/u", "upstream": "agenda", "rewrite": [{"match": match, "to": to}]})

    assert paths(found, "agenda", "GET", path) == expected


def test_who_may_enter_is_what_the_row_says_and_the_stricter_row_around_it() -> None:
    found = entrances(
        {"prefix": "/a", "upstream": "agenda", "access": "PUBLIC"},
        {"path": "/a/admin/", "upstream": "agenda", "access": "ADMIN"},
    )

    assert found("agenda", "GET", "/a/x") == [Entrance("/a/x", Access.PUBLIC)]
    assert found("agenda", "GET", "/a/admin/") == [Entrance("/a/admin/", Access.ADMIN)]
    assert found("agenda", "GET", "/a/admin") == [Entrance("/a/admin", Access.ADMIN)]


def test_thousands_of_rows_cost_an_operation_no_more_than_a_few() -> None:
    rows: list[dict[str, object]] = [
        {"prefix": f"/api/s{number}", "upstream": "agenda", "strip": f"/s{number}"} for number in range(2000)
    ]
    found = entrances(*rows)

    begun_s = time.monotonic()
    offered = paths(found, "agenda", "GET", "/api/s1999/x/{id}")

    assert len(offered) == MAX_ENTRANCES
    assert time.monotonic() - begun_s < 5
