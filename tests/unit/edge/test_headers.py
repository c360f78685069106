import pytest

from app.edge.headers import Headers, cookie_header, cookies, forwarded_headers, named_in_connection, returned_headers


def fields(*pairs: tuple[str, str]) -> Headers:
    return [(name.lower().encode(), value.encode()) for name, value in pairs]


def names(headers: Headers) -> list[str]:
    return [name.decode() for name, _ in headers]


NEVER_FORWARDED = [
    "Connection",
    "Keep-Alive",
    "Proxy-Connection",
    "Proxy-Authorization",
    "Proxy-Authenticate",
    "Proxy-Anything",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
    "HTTP2-Settings",
    "Expect",
    "Host",
    "Content-Length",
    "Cookie",
    "Authorization",
    "X-Request-Id",
    "X-Original-URL",
    "X-Rewrite-URL",
    "X-HTTP-Method-Override",
    "X-HTTP-Method",
    "X-Method-Override",
    "X-User-Id",
    "X-User-Role",
    "X-User-Anything",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "traceparent",
    "tracestate",
]
ONLY_FROM_TRUSTED = [
    "Forwarded",
    "X-Real-IP",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "X-Forwarded-User",
]
KEPT = [
    "Accept",
    "Accept-Encoding",
    "Content-Type",
    "Content-Encoding",
    "User-Agent",
    "If-None-Match",
    "Range",
    "Origin",
    "Referer",
    "Idempotency-Key",
    "Last-Event-ID",
    "X-Users",
    "X-Userid",
    "X-Forwarded",
    "X_Custom",
]


def spellings(name: str) -> list[str]:
    return [name, name.upper(), name.replace("-", "_"), name.replace("-", "_", 1), name.replace("-", ".")]


@pytest.mark.parametrize("is_peer_trusted", [False, True], ids=["stranger", "trusted"])
@pytest.mark.parametrize("name", NEVER_FORWARDED)
def test_no_spelling_of_what_is_ours_to_say_is_forwarded(name: str, *, is_peer_trusted: bool) -> None:
    sent = fields(*((spelling, "evil") for spelling in spellings(name)))

    assert forwarded_headers(sent, is_peer_trusted=is_peer_trusted) == []


@pytest.mark.parametrize("name", ONLY_FROM_TRUSTED)
def test_only_a_trusted_peer_speaks_about_the_client(name: str) -> None:
    sent = fields(*((spelling, "evil") for spelling in spellings(name)))

    assert forwarded_headers(sent, is_peer_trusted=False) == []


@pytest.mark.parametrize("name", ONLY_FROM_TRUSTED)
def test_a_trusted_peer_is_believed_in_the_proper_spelling_only(name: str) -> None:
    others = [spelling for spelling in spellings(name) if spelling.lower() != name.lower()]
    sent = fields((name, "good"), *((spelling, "evil") for spelling in others))

    assert forwarded_headers(sent, is_peer_trusted=True) == fields((name, "good"))


@pytest.mark.parametrize("name", KEPT)
def test_what_is_the_clients_to_say_is_forwarded(name: str) -> None:
    sent = fields((name, "1"), (name, "2"))

    assert forwarded_headers(sent, is_peer_trusted=False) == sent


@pytest.mark.parametrize(
    "connection", ["X-Hop", "close, x-hop", "X_HOP,close", " ,\tx-hop\t, ", "keep-alive,X-Hop,x-hop"]
)
def test_a_field_named_in_connection_ends_here(connection: str) -> None:
    sent = fields(("Connection", connection), ("X-Hop", "1"), ("X_Hop", "2"), ("X-Next", "3"))

    assert names(forwarded_headers(sent, is_peer_trusted=False)) == ["x-next"]


def test_every_connection_field_counts() -> None:
    sent = fields(("Connection", "a"), ("Connection", "b"), ("A", "1"), ("B", "2"), ("C", "3"))

    assert named_in_connection(sent) == {b"a", b"b"}
    assert names(forwarded_headers(sent, is_peer_trusted=False)) == ["c"]


@pytest.mark.parametrize(
    ("te", "kept"),
    [("trailers", ["te"]), ("gzip, Trailers", ["te"]), ("gzip", []), ("trailers;q=0", []), ("xtrailers", [])],
)
def test_of_te_only_trailers_is_forwarded(te: str, kept: list[str]) -> None:
    assert names(forwarded_headers(fields(("TE", te)), is_peer_trusted=False)) == kept


NEVER_RETURNED = [
    "Connection",
    "Keep-Alive",
    "Proxy-Authenticate",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
    "Server",
    "X-Powered-By",
    "Date",
    "X-Request-Id",
    "Access-Control-Allow-Origin",
    "Access-Control-Allow-Credentials",
    "Access-Control-Anything",
    "Access_Control_Allow_Origin",
    "X_Request_Id",
    "Transfer_Encoding",
    "Content_Length",
]


@pytest.mark.parametrize("name", NEVER_RETURNED)
def test_an_upstream_does_not_speak_for_the_connection_nor_for_the_gateway(name: str) -> None:
    assert returned_headers(200, fields((name, "1"))) == []


def test_what_an_upstream_says_is_returned_in_order_with_duplicates() -> None:
    said = fields(("Set-Cookie", "a=1"), ("ETag", '"x"'), ("Set-Cookie", "b=2"), ("WWW-Authenticate", "Basic"))

    assert returned_headers(200, said) == said


def test_an_upstreams_connection_field_names_what_ends_here() -> None:
    said = fields(("Connection", "X_Hop"), ("X-Hop", "1"), ("x_hop", "2"), ("X-Next", "3"))

    assert names(returned_headers(200, said)) == ["x-next"]


@pytest.mark.parametrize(("status", "kept"), [(200, 1), (206, 1), (404, 1), (204, 0), (304, 0), (101, 0), (103, 0)])
def test_a_length_is_returned_once_and_never_where_there_is_no_body(status: int, kept: int) -> None:
    said = fields(("Content-Length", "5"), ("Content-Length", "6"))

    assert returned_headers(status, said) == said[:kept]


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        (["session=a"], ["a"]),
        (["other=x; session=a; third=y"], ["a"]),
        (["session=a; session=b"], ["a", "b"]),
        (["session=a", "session=a"], ["a", "a"]),
        (["session=a=b=="], ["a=b=="]),
        (["session="], [""]),
        (["session"], []),
        (["Session=a; xsession=b; session2=c"], []),
        (["session =a;  session\t=\tb "], ["a", "b"]),
        (['session="a"'], ['"a"']),
        ([";;session=a;"], ["a"]),
        (["=session=a"], []),
        ([], []),
    ],
)
def test_every_value_of_a_cookie_is_found(sent: list[str], found: list[str]) -> None:
    headers = fields(*(("Cookie", value) for value in sent))

    assert cookies(headers, b"session") == [value.encode() for value in found]


@pytest.mark.parametrize(
    ("sent", "left"),
    [
        (["session=a"], None),
        (["a=1; session=x; b=2"], "a=1; b=2"),
        (["a=1; session=x", "session=y; b=2"], "a=1; b=2"),
        (["b=2; a=1; a=0"], "b=2; a=1; a=0"),
        (["session"], None),
        (["nameless; =nameless too; session=x"], "nameless; =nameless too"),
        (["a=1;session =x"], "a=1"),
        (["refresh=r; session=s; c=3"], "c=3"),
        (["a="], "a="),
        (["; ;"], None),
        ([], None),
    ],
)
def test_other_cookies_stay_as_they_are(sent: list[str], left: str | None) -> None:
    headers = fields(*(("Cookie", value) for value in sent))

    kept = cookie_header(headers, without=[b"session", b"refresh"])

    assert kept == (left.encode() if left is not None else None)
