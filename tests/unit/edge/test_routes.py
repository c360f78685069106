import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.edge.faults import PathNotAllowed, RouteMethodNotAllowed, RouteNotFound
from app.edge.routes import CompiledRows, RouteRegistry, RouteTableInvalid
from app.edge.routing import METHODS, path_flaw
from app.kernel.errors import Fault
from app.settings import GatewayFile
from tests.builders import a_principal
from tests.unit.edge.parts import a_file, a_route, a_table

SHIPPED = a_table(
    {"path": "/api/v1/auth/sessions", "methods": ["POST", "PUT"], "access": "PUBLIC"},
    {"path": "/api/v1/auth/sessions", "methods": ["DELETE"]},
    {"prefix": "/api/v1/auth"},
    {"prefix": "/api/v1/agenda", "strip": "/agenda"},
    {"prefix": "/api/v1", "local": True, "access": "STAFF"},
)


def taken(table: RouteRegistry, method: str, path: str) -> str:
    """The label of the row a request takes, or the type of the refusal."""
    try:
        return table.match(method.encode(), path.encode()).label
    except Fault as fault:
        return fault.type


@pytest.mark.parametrize(
    ("method", "path", "row"),
    [
        ("POST", "/api/v1/auth/sessions", "POST|PUT /api/v1/auth/sessions"),
        ("DELETE", "/api/v1/auth/sessions", "DELETE /api/v1/auth/sessions"),
        ("GET", "/api/v1/auth/sessions", "method-not-allowed"),
        ("GET", "/api/v1/auth/sessions/7", "/api/v1/auth/*"),
        ("GET", "/api/v1/auth", "/api/v1/auth/*"),
        ("GET", "/api/v1/auth/", "/api/v1/auth/*"),
        ("GET", "/api/v1/authority", "/api/v1/*"),
        ("GET", "/api/v1/agendas", "/api/v1/*"),
        ("GET", "/api/v1/agenda/x/y", "/api/v1/agenda/*"),
        ("GET", "/api/v2", "route-not-found"),
        ("GET", "/", "route-not-found"),
        ("GET", "/API/v1/auth", "route-not-found"),
        ("get", "/api/v1/auth", "method-not-allowed"),
        ("TRACE", "/api/v1/auth", "method-not-allowed"),
        ("CONNECT", "/api/v1/auth", "method-not-allowed"),
        ("", "/api/v1/auth", "method-not-allowed"),
    ],
)
def test_a_request_takes_the_most_exact_row(method: str, path: str, row: str) -> None:
    assert taken(SHIPPED, method, path) == row


def test_no_row_for_the_method_tells_those_there_are() -> None:
    with pytest.raises(RouteMethodNotAllowed) as refused:
        SHIPPED.match(b"GET", b"/api/v1/auth/sessions")

    assert refused.value.headers == {"allow": "POST, PUT, DELETE"}


def test_the_row_that_names_the_method_wins_whatever_the_order() -> None:
    rows: list[dict[str, object]] = [{"path": "/a", "access": "ADMIN"}, {"path": "/a", "methods": ["GET"]}]

    for order in itertools.permutations(rows):
        assert taken(a_table(*order), "GET", "/a") == "GET /a"
        assert taken(a_table(*order), "POST", "/a") == "/a"


ADMIN_CORNER = a_table(
    {"prefix": "/api", "access": "PUBLIC", "encoded_slashes": True},
    {"path": "/api/users/@me", "access": "ADMIN"},
    {"prefix": "/api/admin", "access": "ADMIN"},
    {"prefix": "/api/caf%C3%A9", "access": "ADMIN"},
)


@pytest.mark.parametrize(
    "path",
    [
        "/api/%61dmin",
        "/api/%61dmin/x",
        "/api/admi%6E/x",
        "/api/admin%2Fx",
        "/api%2Fadmin",
        "/%61pi/users",
        "/api/users/%40me",
        "/api/users/%40m%65",
        "/api/users%2F@me",
        "/api/admin;v=1/x",
        "/api;x/admin/y",
        "/api/users/@me;jsessionid=1",
        "/api/caf%c3%a9",
        "/api/caf%c3%A9/x",
    ],
)
def test_another_spelling_does_not_reach_another_row(path: str) -> None:
    with pytest.raises(PathNotAllowed):
        ADMIN_CORNER.match(b"GET", path.encode())


@pytest.mark.parametrize(
    ("path", "row"),
    [
        ("/api/a%40b", "/api/*"),
        ("/api/%7Euser/x%20y", "/api/*"),
        ("/api/a;v=1", "/api/*"),
        ("/api/x%2Fy", "/api/*"),
        ("/api/caf%C3%A9/x", "/api/caf%C3%A9/*"),
        ("/api/admin/%61", "/api/admin/*"),
        ("/api/admin/a%3Bb", "/api/admin/*"),
    ],
)
def test_another_spelling_within_the_same_row_is_as_good(path: str, row: str) -> None:
    assert taken(ADMIN_CORNER, "GET", path) == row


@given(st.data())
def test_encoding_any_letters_of_a_path_never_opens_another_row(data: st.DataObject) -> None:
    plain = data.draw(st.sampled_from(["/api/admin/x", "/api/users/@me", "/api/users/you", "/api/adm", "/other"]))
    spelled = "".join(
        data.draw(st.sampled_from([letter, f"%{ord(letter):02x}", f"%{ord(letter):02X}"])) if letter != "/" else letter
        for letter in plain
    )

    assert taken(ADMIN_CORNER, "GET", spelled) in {taken(ADMIN_CORNER, "GET", plain), "path-not-allowed"}


def test_an_encoded_slash_needs_the_rows_leave() -> None:
    table = a_table({"prefix": "/files", "encoded_slashes": True}, {"prefix": "/notes"})

    assert taken(table, "GET", "/files/a%2Fb") == "/files/*"
    assert taken(table, "GET", "/notes/a%2Fb") == "path-not-allowed"


# ---- what the upstream is sent


@pytest.mark.parametrize(
    ("row", "path", "sent"),
    [
        ({"prefix": "/api/v1/agenda", "strip": "/agenda"}, "/api/v1/agenda/calendars/", "/api/v1/calendars/"),
        ({"prefix": "/api/v1/agenda", "strip": "/agenda"}, "/api/v1/agenda", "/api/v1"),
        ({"prefix": "/agenda", "strip": "/agenda"}, "/agenda", "/"),
        ({"prefix": "/agenda", "strip": "/agenda"}, "/agenda/agenda", "/agenda"),
        ({"prefix": "/a/b/c", "strip": "/a/b"}, "/a/b/c/d", "/c/d"),
        ({"prefix": "/agendas/agenda", "strip": "/agenda"}, "/agendas/agenda/x", "/agendas/x"),
        ({"path": "/a/b", "strip": "/b"}, "/a/b", "/a"),
        ({"prefix": "/a"}, "/a/%41%7E;x=1/", "/a/%41%7E;x=1/"),
        ({"prefix": "/a", "rewrite": [{"match": "/a/(.*)", "to": r"/b/\1"}]}, "/a/x/y", "/b/x/y"),
        ({"prefix": "/a", "rewrite": [{"match": "/a/(?P<rest>.*)", "to": r"/b/\g<rest>"}]}, "/a/x", "/b/x"),
        ({"prefix": "/a", "rewrite": [{"match": "/a/x", "to": "/b"}]}, "/a/x/y", "/a/x/y"),
        ({"prefix": "/a", "rewrite": [{"match": "a/x", "to": "/b"}]}, "/a/x", "/a/x"),
        ({"prefix": "/a", "rewrite": [{"match": "^/a/x$", "to": "/b"}, {"match": "/a/.*", "to": "/c"}]}, "/a/x", "/b"),
        ({"prefix": "/a", "rewrite": [{"match": "/a", "to": "/b", "methods": ["POST"]}]}, "/a", "/a"),
        ({"prefix": "/a", "rewrite": [{"match": "/a", "to": "/b", "methods": ["GET"]}]}, "/a", "/b"),
        ({"prefix": "/v/a", "strip": "/v", "rewrite": [{"match": "/a", "to": "/b"}]}, "/v/a", "/b"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_upstream_is_sent_what_the_row_says(row: dict[str, object], path: str, sent: str) -> None:
    assert a_table(row).routes[0].upstream_path(b"GET", path.encode()) == sent.encode()


@pytest.mark.parametrize(
    ("match", "to", "path"),
    [("/a/(.*)", r"/b/\1/c", "/a/"), (r"/a/(\.*)x", r"/b/\1", "/a/..x"), ("/a/(%)25(..)", r"/b/x\1\2", "/a/%252F")],
    ids=["empty segment", "dot segment", "encoded slash"],
)
def test_a_rewrite_that_makes_an_unsafe_path_is_refused(match: str, to: str, path: str) -> None:
    route = a_route(prefix="/a", rewrite=[{"match": match, "to": to}])

    with pytest.raises(PathNotAllowed):
        route.upstream_path(b"GET", path.encode())


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("http://h:1", "/a"),
        ("http://h:1/", "/a"),
        ("http://h:1/base", "/base/a"),
        ("https://h/b/c/", "/b/c/a"),
        ("unix:/run/there.sock", "/a"),
    ],
)
def test_the_path_in_an_upstreams_url_goes_before(url: str, sent: str) -> None:
    table = a_table({"prefix": "/a"}, upstreams={"there": {"url": url}})

    assert table.routes[0].upstream_path(b"GET", b"/a") == sent.encode()


@given(st.binary(max_size=40))
def test_the_path_that_was_authorised_is_the_path_that_is_sent(tail: bytes) -> None:
    path = b"/v/agenda" + tail
    table = a_table({"prefix": "/v/agenda", "strip": "/agenda"}, {"prefix": "/"})

    if path_flaw(path) is None:
        try:
            route = table.match(b"GET", path)
        except PathNotAllowed:
            return
        cut = path.removeprefix(b"/v/agenda")
        assert route.upstream_path(b"GET", path) == (b"/v" + cut if route.skipped_bytes else path)


@given(tail=st.text(alphabet="ab/.;%2fF5cC\\", max_size=12), encoded_slashes=st.booleans())
def test_a_path_without_segments_of_its_row_is_as_safe_as_it_was(tail: str, *, encoded_slashes: bool) -> None:
    table = a_table(
        {"prefix": "/v/agenda", "strip": "/agenda", "encoded_slashes": encoded_slashes},
        {"prefix": "/calendar", "strip": "/calendar", "encoded_slashes": encoded_slashes},
        upstreams={"there": {"url": "http://there.test/base"}},
    )

    for path in (f"/v/agenda{tail}".encode(), f"/calendar{tail}".encode()):
        if path_flaw(path, encoded_slashes=encoded_slashes) is None:
            with contextlib.suppress(Fault):
                sent = table.match(b"GET", path).upstream_path(b"GET", path)
                assert path_flaw(sent, encoded_slashes=encoded_slashes) is None


# ---- what is wrong with a table

OK_ROW: dict[str, object] = {"path": "/ok"}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({}, "either `path` or `prefix`"),
        ({"path": "/a", "prefix": "/a"}, "either `path` or `prefix`"),
        ({"path": "a"}, "no path a client could send"),
        ({"path": ""}, "no path a client could send"),
        ({"path": "/a/../b"}, "dot segment"),
        ({"path": "/a//b"}, "empty segment"),
        ({"path": "/a b"}, 'write it as clients send it, e.g. "/a%20b"'),
        ({"path": "/caf\u00e9"}, 'e.g. "/caf%C3%A9"'),
        ({"path": "/caf%c3%a9"}, 'write "/caf%C3%A9"'),
        ({"path": "/%61"}, 'write "/a"'),
        ({"path": "/users/%40me"}, 'write "/users/@me"'),
        ({"path": "/a;v=1"}, 'write "/a%3Bv=1"'),
        ({"path": "/a*"}, ""),
        ({"prefix": "/a/"}, 'write prefix = "/a"'),
        ({"path": "/a", "local": True, "upstream": "there"}, "either `upstream` or `local = true`"),
        ({"path": "/a", "local": False, "upstream": None}, "either `upstream` or `local = true`"),
        ({"path": "/a", "upstream": "nowhere"}, "known: there"),
        ({"path": "/a", "local": True, "strip": "/a"}, "a local row forwards nothing"),
        ({"path": "/a", "local": True, "forward_token": True}, "a local row forwards nothing"),
        ({"path": "/a", "local": True, "forward_cookies": ["x"]}, "a local row forwards nothing"),
        ({"path": "/a", "local": True, "websocket": True}, "a local row opens no tunnel"),
        ({"path": "/a", "methods": ["POST"], "websocket": True}, "a WebSocket begins with GET"),
        ({"path": "/a", "methods": ["get"]}, "does not know the method get"),
        ({"path": "/a", "methods": ["GET", "TRACE", "FOO"]}, "TRACE, FOO"),
        ({"prefix": "/agendas", "strip": "/agenda"}, "no run of whole segments"),
        ({"prefix": "/a/b", "strip": "b"}, "no run of whole segments"),
        ({"prefix": "/a/b", "strip": "/b/"}, "no run of whole segments"),
        ({"prefix": "/a/b", "strip": "/"}, "no run of whole segments"),
        ({"prefix": "/a/b", "strip": "/b/c"}, "no run of whole segments"),
        ({"prefix": "/a", "rewrite": [{"match": "(", "to": "/"}]}, "a regular expression"),
        ({"prefix": "/a", "rewrite": [{"match": "/a", "to": r"/\1"}]}, "invalid group reference"),
        ({"prefix": "/a", "rewrite": [{"match": "/a", "to": r"/\g<x>"}]}, "unknown group"),
        ({"prefix": "/a", "rewrite": [{"match": "/a", "to": "b"}]}, "makes no path"),
        ({"prefix": "/a", "rewrite": [{"match": "/a/(.*)", "to": r"/b?x=\1"}]}, "leave the query out"),
        ({"prefix": "/a", "rewrite": [{"match": "/a/(.*)", "to": r"\1"}]}, "start with a slash"),
        ({"prefix": "/a", "rewrite": [{"match": "/a", "to": "/b", "methods": ["GRAB"]}]}, "GRAB"),
        ({"prefix": "/a", "methods": ["GET"], "rewrite": [{"match": "/a", "to": "/b", "methods": ["PUT"]}]}, "for PUT"),
        ({"prefix": "/a", "rewrite": [{"match": "/a", "to": "/b"}, {"match": "/a", "to": "/c"}]}, "shadowed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_flaw_of_a_row_is_told_with_its_mend(row: dict[str, object], words: str) -> None:
    if not words:
        a_table(row)
        return

    with pytest.raises(RouteTableInvalid) as invalid:
        a_table(row, OK_ROW)

    assert any(words in f"{problem.message}; {problem.mend}" for problem in invalid.value.problems)
    assert all(problem.row.startswith("routes[1]") for problem in invalid.value.problems)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"path": "/a"}, {"path": "/a"}], "every method"),
        ([{"path": "/a", "methods": ["GET"]}, {"path": "/a", "methods": ["PUT", "GET"]}], "(GET)"),
        ([{"prefix": "/a"}, {"prefix": "/a", "access": "PUBLIC"}], "every method"),
        ([{"path": "/a"}, {"path": "/a", "methods": [method.decode() for method in METHODS]}], "shadowed"),
    ],
)
def test_rows_that_contradict_each_other_are_refused(rows: list[dict[str, object]], words: str) -> None:
    with pytest.raises(RouteTableInvalid, match="/a") as invalid:
        a_table(*rows)

    assert len(invalid.value.problems) == 1
    assert words in invalid.value.problems[0].message


@pytest.mark.parametrize(
    "rows",
    [
        [{"path": "/a"}, {"prefix": "/a"}],
        [{"path": "/a", "methods": ["GET"]}, {"path": "/a", "methods": ["PUT"]}, {"path": "/a"}],
        [{"prefix": "/"}, {"prefix": "/a"}, {"path": "/"}],
        [{"path": "/a"}, {"path": "/a/"}],
        [{"prefix": "/a", "rewrite": [{"match": "/a", "to": "/b", "methods": ["GET"]}, {"match": "/a", "to": "/c"}]}],
    ],
)
def test_rows_with_an_order_between_them_are_not_ambiguous(rows: list[dict[str, object]]) -> None:
    assert len(a_table(*rows).routes) == len(rows)


def test_every_problem_of_a_table_is_told_at_once() -> None:
    with pytest.raises(RouteTableInvalid) as invalid:
        a_table({"path": "bad"}, OK_ROW, {"path": "/x", "methods": ["NO"], "strip": "/y"}, OK_ROW)

    assert [problem.row for problem in invalid.value.problems] == ["routes[1] (bad)", *["routes[3] (NO /x)"] * 2, "/ok"]


@pytest.mark.parametrize("url", ["http://[::1", "http://h:99999999/x", "::", "http://h/a b", "http://h/../x"])
def test_a_broken_url_of_an_upstream_breaks_nothing_here(url: str) -> None:
    file = GatewayFile.model_validate(
        {"upstreams": {"there": {"url": url}}, "routes": [{"path": "/a", "upstream": "there"}]}
    )

    with contextlib.suppress(RouteTableInvalid):
        RouteRegistry.compile(file.routes, file.upstreams)


def test_no_row_no_entry() -> None:
    with pytest.raises(RouteNotFound):
        a_table().match(b"GET", b"/")


@pytest.mark.parametrize(
    ("path", "user", "manager"),
    [("/api/x/admin", False, True), ("/api/x/admin/", False, True), ("/api/x/admin/y", True, True)],
)
def test_a_slash_at_the_end_is_no_way_round_a_stricter_row(path: str, *, user: bool, manager: bool) -> None:
    table = a_table({"prefix": "/api/x", "local": True}, {"path": "/api/x/admin", "local": True, "access": "STAFF"})

    route = table.match(b"GET", path.encode())

    assert route.admits(a_principal(role="user")) is user
    assert route.admits(a_principal(role="manager")) is manager
    assert not route.admits(None)


def test_a_public_prefix_around_a_strict_path_is_not_public_with_a_slash() -> None:
    table = a_table(
        {"prefix": "/", "local": True, "access": "PUBLIC"},
        {"path": "/admin", "methods": ["GET"], "local": True, "access": "ADMIN"},
    )

    assert not table.match(b"GET", b"/admin/").is_public
    assert table.match(b"POST", b"/admin/").is_public
    assert table.match(b"GET", b"/admins/").is_public


@pytest.mark.parametrize("path", ["/%61dmin/", "/admin;v=1/", "/adm%69n/"])
def test_another_spelling_of_a_guarded_path_is_refused(path: str) -> None:
    table = a_table({"prefix": "/", "access": "PUBLIC"}, {"path": "/admin", "access": "ADMIN"})

    with pytest.raises(PathNotAllowed):
        table.match(b"GET", path.encode())


def test_an_exact_path_with_a_slash_guards_the_one_without() -> None:
    table = a_table({"prefix": "/", "access": "COMMON", "methods": ["GET"]}, {"path": "/admin/", "access": "ADMIN"})

    guarded = table.match(b"GET", b"/admin")

    assert (guarded.label, guarded.guarded_by) == ("GET /*", "/admin/")
    assert not guarded.admits(a_principal(role="user"))
    assert taken(table, "POST", "/admin") == "method-not-allowed"


def test_each_spelling_with_a_row_of_its_own_asks_for_its_own_access() -> None:
    table = a_table({"path": "/a", "access": "ADMIN"}, {"path": "/a/", "access": "PUBLIC"}, {"prefix": "/"})

    assert table.match(b"GET", b"/a/").is_public
    assert not table.match(b"GET", b"/a").is_public


def test_a_row_that_is_known_is_not_compiled_again_but_for_another_upstream() -> None:
    known = CompiledRows()
    same = a_file(
        {"path": "/one", "upstream": "one"},
        {"path": "/two", "upstream": "two"},
        {"path": "/own", "local": True},
        upstreams={"one": {"url": "http://one:1/base"}, "two": {"url": "http://two:2"}},
    )
    moved = same.model_copy(
        update={
            "upstreams": {
                **same.upstreams,
                "one": a_file(upstreams={"one": {"url": "http://one:1/moved"}}).upstreams["one"],
            }
        }
    )

    first = RouteRegistry.compile(same.routes, same.upstreams, known).routes
    again = RouteRegistry.compile(same.routes, same.upstreams, known).routes
    after = RouteRegistry.compile(moved.routes, moved.upstreams, known).routes

    assert all(one is other for one, other in zip(first, again, strict=True))
    assert [one is other for one, other in zip(again, after, strict=True)] == [False, True, True]
    assert after[0].upstream_path(b"GET", b"/one") == b"/moved/one"


def test_a_row_that_is_known_is_wrong_all_the_same_when_its_upstream_is_gone() -> None:
    known = CompiledRows()
    file = a_file({"path": "/one", "upstream": "one"}, upstreams={"one": {"url": "http://one:1"}})
    RouteRegistry.compile(file.routes, file.upstreams, known)

    with pytest.raises(RouteTableInvalid, match="'one' is unknown"):
        RouteRegistry.compile(file.routes, {}, known)
    with pytest.raises(RouteTableInvalid, match="takes the same requests"):
        RouteRegistry.compile([*file.routes, *file.routes], file.upstreams, known)
