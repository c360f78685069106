import pytest

from app.edge.routes import RouteRegistry
from app.settings import GatewayFile
from app.surfaces.cli.explain import Explanation, Facts, explain
from tests.builders import ROLES

ROWS: list[dict[str, object]] = [
    {"path": "/api/users/me", "methods": ["GET"], "upstream": "users", "access": "ADMIN"},
    {"path": "/api/users/me", "upstream": "users", "access": "PUBLIC"},
    {"prefix": "/api/users", "upstream": "users", "strip": "/users", "rate_limit": "100/minute", "burst": 5},
    {"prefix": "/api", "methods": ["GET"], "local": True},
    {"path": "/tidy/", "local": True},
    {"prefix": "/notes", "upstream": "users", "forward_token": True, "forward_cookies": ["b", "a"], "websocket": True},
]


def explained(method: str, target: str) -> Explanation:
    upstreams = {"users": {"urls": ["http://a.test/base", "http://b.test/base"]}}
    file = GatewayFile.model_validate({"upstreams": upstreams, "routes": ROWS})
    return explain(Facts(RouteRegistry.compile(file.routes, file.upstreams), file.upstreams, ROLES), method, target)


def line(told: Explanation, name: str) -> list[str]:
    return [text for key, text in told.lines if key == name]


@pytest.mark.parametrize(
    ("method", "target", "row", "why"),
    [
        (
            "get",
            "/api/users/me",
            "GET /api/users/me (exact path)",
            "names GET, unlike /api/users/me; an exact path beats /api/users/*, GET /api/*",
        ),
        (
            "PUT",
            "/api/users/me?x",
            "/api/users/me (exact path)",
            "takes the rest, among them PUT, unlike GET /api/users/me; an exact path beats /api/users/*, GET /api/*",
        ),
        ("PUT", "/api/users", "/api/users/* (longest prefix)", "its prefix is longer than that of GET /api/*"),
        ("GET", "/api/user", "GET /api/* (longest prefix)", "no other row has this path"),
    ],
)
def test_the_row_is_told_with_the_rows_it_won_against(method: str, target: str, row: str, why: str) -> None:
    told = explained(method, target)

    assert (line(told, "row"), line(told, "why"), told.refusal) == ([row], [why], "")


def test_every_endpoint_and_the_limit_are_told() -> None:
    told = explained("GET", "https://gateway.test/api/users/7")

    assert line(told, "to") == ["http://a.test/base/api/7", "http://b.test/base/api/7"]
    assert line(told, "limit") == ["100 requests a minute for each caller, up to 5 at once"]


def test_what_is_sent_of_the_callers_secrets_is_told() -> None:
    assert line(explained("GET", "/notes"), "sends") == ["the access token, the cookie a, the cookie b"]
    assert line(explained("GET", "/api"), "sends") == []


def test_a_row_that_takes_web_sockets_says_so() -> None:
    assert line(explained("GET", "/notes"), "tunnel") != []
    assert line(explained("GET", "/api"), "tunnel") == []


def test_the_access_of_the_same_path_with_another_end_is_told() -> None:
    told = explained("GET", "/api/users/me/")

    assert line(told, "access") == ["COMMON: roles admin, developer, manager, user"]
    assert line(told, "and")[0].startswith("ADMIN: roles admin, developer; many services answer it as they answer GET ")


@pytest.mark.parametrize(
    ("method", "target", "refusal", "hints"),
    [
        ("POST", "/api", "method-not-allowed", ["there is GET /api/* (COMMON)"]),
        ("TRACE", "/notes", "method-not-allowed", ["there is /notes/* (COMMON)"]),
        ("GET", "/tidy", "route-not-found", ["/tidy/ would take /tidy/: a slash at the end makes another path"]),
        ("GET", "/Notes/7", "route-not-found", ["/notes/* is near: capital letters count"]),
        ("GET", "/note", "route-not-found", ["/notes/* is near"]),
        ("GET", "/nowhere/near", "route-not-found", []),
        (
            "GET",
            "/api/%75sers/me",
            "path-not-allowed",
            [
                "an upstream may read it as /api/users/me, which is for GET /api/users/me",
                "clients write it /api/users/me",
            ],
        ),
        ("GET", "/notes/caf\u00e9", "path-not-allowed", ["clients write it /notes/caf%C3%A9"]),
        ("GET", "/notes/a%2Fb", "path-not-allowed", ["clients write it /notes/a/b"]),
        ("GET", "/notes/../api", "path-not-allowed", []),
        ("GET", "/notes?a=\u00e9", "path-not-allowed", []),
    ],
)
def test_a_refusal_is_told_with_what_would_be_let_through(
    method: str, target: str, refusal: str, hints: list[str]
) -> None:
    told = explained(method, target)

    assert told.refusal == refusal
    assert line(told, "hint") == hints
