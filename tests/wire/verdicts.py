"""What becomes of a request, case by case: the same at both mounts, and the same when it is asked again."""

from tests.builders import a_token
from tests.wire.caller import get, post, post_chunks
from tests.wire.verdict import Case, Sent, Verdict, bearer, let_in, refused
from tests.wire.verdicts_of_callers import IDENTITIES, MINE, ORIGINS, ROLES, TOKENS

GOOD = a_token(sub="7")

REFUSED_PATHS = (
    b"/main/../admin", b"/main/./x", b"/main/..", b"/main/%2e%2e/x", b"/main/.%2E/x", b"/main/%2e", b"/main/..;/x",
    b"/main/..;a=1/x", b"/main//x", b"//main/x", b"/main/%2fx", b"/main/x%2F", b"/main/%5cx", b"/main\\x", b"/main/%00",
    b"/main/%0a", b"/main/%7f", b"/main/%zz", b"/main/%", b"/main/%c0%ae", b"/main/%ff", b"/main/a|b", b"/main/<x>",
    b"/main/%2e%2e%3b/x", b"/main/%2e%2e%2fadmin/x", b"/%6dain/%2e%2e/x", b'/main/"', b"/main/{x}", b"/main/a^b",
)  # fmt: skip

PATHS = {
    **{f"path {path.decode()}": refused(get(path), 400, "path-not-allowed") for path in REFUSED_PATHS},
    "another spelling of a strict row": refused(get(b"/%61dmin/x", bearer(GOOD)), 400, "path-not-allowed"),
    "parameters that hide a strict row": refused(get(b"/staff/open;x", bearer(GOOD)), 400, "path-not-allowed"),
    "no row": refused(get(b"/nowhere"), 404, "route-not-found"),
    "no boundary": refused(get(b"/mainly"), 404, "route-not-found"),
    "root": refused(get(b"/"), 404, "route-not-found"),
    "another case": refused(get(b"/MAIN/x"), 404, "route-not-found"),
    "escapes": let_in(get(b"/main/a%20b%25%c3%a9"), b"GET /main/a%20b%25%c3%a9"),
    "query": let_in(get(b"/main/x?a=/../&b=%00&c=%zz?"), b"GET /main/x?a=/../&b=%00&c=%zz?"),
    "empty query": let_in(get(b"/main/x?"), b"GET /main/x"),
    "slash at the end": let_in(get(b"/main/x/"), b"GET /main/x/"),
    "slashes where the row takes them": let_in(get(b"/slashes/a%2Fb"), b"GET /slashes/a%2Fb"),
    "dot segments where the row takes slashes": refused(get(b"/slashes/..%2Fadmin"), 400, "path-not-allowed"),
    "prefix stripped": let_in(get(b"/stripped/in/x?y"), b"GET /in/x?y"),
    "prefix stripped to nothing": let_in(get(b"/stripped"), b"GET /"),
    "dots that are no segments": let_in(get(b"/main/a..b/...c"), b"GET /main/a..b/...c"),
}

METHODS = {
    **{
        f"method {method.decode()}": let_in(get(b"/main/x", method=method), method + b" /main/x")
        for method in (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS")
    },
    **{
        f"method {method.decode()}": refused(get(b"/main/x", method=method), 405, "method-not-allowed")
        for method in (b"TRACE", b"PROPFIND", b"MKCOL", b"SEARCH", b"PURGE", b"LINK")
    },
    "method the row does not take": refused(get(b"/reads/x", method=b"POST"), 405, "method-not-allowed"),
    "method the row does not take, with a body": refused(post(b"/reads/x", b"hello"), 405, "method-not-allowed"),
    "method over another": let_in(get(b"/reads/x", b"X-HTTP-Method-Override: DELETE"), b"GET /reads/x"),
}

HOSTS = {
    f"host {host.decode('latin-1')!r}": refused(
        get(b"/main/x").replace(b" front", host), 400, "head-malformed", stays=False
    )
    for host in (
        b" ",
        b" fr ont",
        b" a/b",
        b" a@b",
        b" a,b",
        b" front:x",
        b" front:123456",
        b" front:65536",
        b" ..",
        b" [:::::]",
        b" [....]",
        b" [fe80::1%25eth0]",
        b" [::1",
        b" fr\xc3\xb6nt",
        b" a\\b",
        b" http://front",
        b" front?x",
        b" *",
        b" front\r\nHost: front",
        b" front\r\nHost: other",
    )
} | {
    "no host": refused(get(b"/main/x").replace(b"Host: front\r\n", b""), 400, "head-malformed", stays=False),
    "host with spaces around it": let_in(get(b"/main/x").replace(b" front", b"\t front \t"), b"GET /main/x"),
}

LIMITS = {
    "target of 8,192 bytes": let_in(get(b"/main/" + b"x" * 8168), b"GET /main/" + b"x" * 8168),
    "target too long": refused(get(b"/main/" + b"x" * 8190), 414, "target-too-long", stays=False),
    "query too long": refused(get(b"/main/x?" + b"x" * 8190), 414, "target-too-long", stays=False),
    "101 fields": refused(get(b"/main/x", *[b"X-A: 1"] * 100), 431, "head-too-large", stays=False),
    "100 fields": let_in(get(b"/main/x", *[b"X-A: 1"] * 99), b"GET /main/x", *[b"x-a: 1"] * 99),
    "field of 30,000 bytes": let_in(
        get(b"/main/x", b"X-A: " + b"a" * 30_000), b"GET /main/x", b"x-a: " + b"a" * 30_000
    ),
    "declared body too large": refused(post(b"/small/x", b"x" * 1001), 413, "body-too-large"),
    "chunked body too large": refused(post_chunks(b"/small/x", b"x" * 1001, b""), 413, "body-too-large"),
    "largest body": let_in(post(b"/small/x", b"x" * 1000), b"POST /small/x", b"content-length: 1000", body=b"x" * 1000),
    "length of 5,000 digits": refused(
        get(b"/small/x", b"Content-Length: " + b"0" * 5000, method=b"POST"), 400, "head-malformed", stays=False
    ),
}

BODIES = {
    "length": let_in(post(b"/main/x", b"hello"), b"POST /main/x", b"content-length: 5", body=b"hello"),
    "length of nothing": let_in(post(b"/main/x", b""), b"POST /main/x", b"content-length: 0"),
    "length with zeros before it": let_in(
        get(b"/main/x", b"Content-Length: 005", method=b"POST") + b"hello",
        b"POST /main/x",
        b"content-length: 5",
        body=b"hello",
    ),
    "length with spaces around it": let_in(
        get(b"/main/x", b"Content-Length: \t 5 ", method=b"POST") + b"hello",
        b"POST /main/x",
        b"content-length: 5",
        body=b"hello",
    ),
    "chunks": let_in(
        post_chunks(b"/main/x", b"hel", b"lo", b""), b"POST /main/x", b"transfer-encoding: chunked", body=b"hello"
    ),
    "no chunk": let_in(post_chunks(b"/main/x", b""), b"POST /main/x", b"transfer-encoding: chunked"),
    "encoding in capitals": let_in(
        get(b"/main/x", b"TRANSFER-ENCODING: CHUNKED", method=b"PUT") + b"2\r\nhi\r\n0\r\n\r\n",
        b"PUT /main/x",
        b"transfer-encoding: chunked",
        body=b"hi",
    ),
    "trailers": let_in(
        post_chunks(b"/main/x", b"hi") + b"0\r\nX-User-Id: 1\r\nX_User_Role: admin\r\n\r\n",
        b"POST /main/x",
        b"transfer-encoding: chunked",
        body=b"hi",
    ),
    "body of a GET": let_in(
        post(b"/main/x", b"hello", method=b"GET"), b"GET /main/x", b"content-length: 5", body=b"hello"
    ),
    "body nobody wants": refused(post(b"/nowhere", b"hello"), 404, "route-not-found"),
    "chunks nobody wants": refused(post_chunks(b"/nowhere", b"hello", b""), 404, "route-not-found"),
    "body of nobody": refused(post(MINE, b"hello"), 401, "token-missing"),
    "body that looks like a request": let_in(
        post(b"/main/x", get(b"/admin/x")),
        b"POST /main/x",
        b"content-length: %d" % len(get(b"/admin/x")),
        body=get(b"/admin/x"),
    ),
}

FORWARDS = {
    "OPTIONS that may go on": let_in(
        get(b"/main/x", b"Max-Forwards: 5", method=b"OPTIONS"), b"OPTIONS /main/x", b"max-forwards: 4"
    ),
    "OPTIONS that may go on once": let_in(
        get(b"/main/x", b"Max-Forwards: 001", method=b"OPTIONS"), b"OPTIONS /main/x", b"max-forwards: 0"
    ),
    "OPTIONS that may not go on": Case(get(b"/main/x", b"Max-Forwards: 0", method=b"OPTIONS"), Verdict(204)),
    "OPTIONS that may not go on, without a token": refused(
        get(b"/mine/x", b"Max-Forwards: 0", method=b"OPTIONS"), 401, "token-missing"
    ),
    "OPTIONS that says nonsense about it": let_in(
        get(b"/main/x", b"Max-Forwards: x", method=b"OPTIONS"), b"OPTIONS /main/x", b"max-forwards: x"
    ),
    "OPTIONS that says two things": let_in(
        get(b"/main/x", b"Max-Forwards: 0", b"Max-Forwards: 5", method=b"OPTIONS"),
        b"OPTIONS /main/x",
        b"max-forwards: 0",
        b"max-forwards: 5",
    ),
    "GET that means nothing by it": let_in(get(b"/main/x", b"Max-Forwards: 0"), b"GET /main/x", b"max-forwards: 0"),
    "OPTIONS for the server, with a query": refused(get(b"*?a", method=b"OPTIONS"), 400, "path-not-allowed"),
}

HOP_BY_HOP = {
    "trailers that are wanted": let_in(
        get(b"/main/x", b"TE: deflate;q=0.5 , Trailers"), b"GET /main/x", b"te: trailers"
    ),
    "trailers that are not wanted": let_in(get(b"/main/x", b"TE: xtrailers, trailers;q=0, chunked"), b"GET /main/x"),
    "hop-by-hop fields": let_in(
        get(
            b"/main/x",
            b"Keep-Alive: timeout=5",
            b"Proxy-Authorization: Basic eA==",
            b"Proxy-Connection: keep-alive",
            b"TE: gzip",
            b"Trailer: X-A",
            b"Proxy-Anything: 1",
            b"X-Kept: 1",
            b"Connection: keep-alive",
        ),
        b"GET /main/x",
        b"x-kept: 1",
    ),
    "fields named in Connection": let_in(
        get(
            b"/main/x",
            b"Connection: X-One",
            b"X-One: 1",
            b"x_two: 2",
            b"Connection: keep-alive , x-two,,",
            b"X-Three: 3",
        ),
        b"GET /main/x",
        b"x-three: 3",
    ),
    "trailers that are understood": let_in(
        get(b"/main/x", b"TE: trailers, gzip;q=0.5"), b"GET /main/x", b"te: trailers"
    ),
    "upgrade nobody offers": let_in(
        get(b"/main/x", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQ"),
        b"GET /main/x",
    ),
    "upgrade with a body": refused(
        post(b"/main/x", b"hello", b"Connection: Upgrade", b"Upgrade: h2c"), 400, "head-malformed", stays=False
    ),
    "close": Case(get(b"/main/x", b"Connection: close"), Verdict(200, stays=False, sent=Sent(b"GET /main/x HTTP/1.1"))),
    "close among others": Case(
        get(b"/main/x", b"Connection: x-a, Close", b"X-A: 1"),
        Verdict(200, stays=False, sent=Sent(b"GET /main/x HTTP/1.1")),
    ),
    "close after a refusal": refused(get(b"/nowhere", b"Connection: close"), 404, "route-not-found", stays=False),
    "empty values": let_in(get(b"/main/x", b"X-Empty:", b"X-Spaces: \t "), b"GET /main/x", b"x-empty: ", b"x-spaces: "),
    "bytes beyond ASCII": let_in(
        get(b"/main/x", b"X-Name: caf\xc3\xa9 \xe9"), b"GET /main/x", b"x-name: caf\xc3\xa9 \xe9"
    ),
    "spaces around values": let_in(get(b"/main/x", b"X-A: \t a b \t "), b"GET /main/x", b"x-a: a b"),
    "order and duplicates": let_in(
        get(b"/main/x", b"B: 1", b"A: 2", b"B: 3"), b"GET /main/x", b"b: 1", b"a: 2", b"b: 3"
    ),
}

FRAMINGS = {
    name: refused(
        get(b"/main/x", *fields, method=b"POST") + b"3\r\nabc\r\n0\r\n\r\n", 400, "head-malformed", stays=False
    )
    for name, fields in {
        "gzip, chunked": (b"Transfer-Encoding: gzip, chunked",),
        "identity, chunked": (b"Transfer-Encoding: identity, chunked",),
        "an empty encoding before": (b"Transfer-Encoding: ,chunked",),
    }.items()
}

LOCAL = {
    "local": Case(get(b"/api/health/ping"), Verdict(204)),
    "local, head": Case(get(b"/api/health/ping", method=b"HEAD"), Verdict(405)),
    "local without a token": refused(get(b"/api/v1/chats"), 401, "token-missing"),
    "local, nobody there": refused(get(b"/local"), 404, "route-not-found"),
}

VERDICTS: dict[str, dict[str, Case]] = {
    "tokens": TOKENS,
    "origins": ORIGINS,
    "roles": ROLES,
    "paths": PATHS,
    "methods": METHODS,
    "hosts": HOSTS,
    "limits": LIMITS,
    "bodies": BODIES,
    "identities": IDENTITIES,
    "forwards": FORWARDS,
    "hop by hop": HOP_BY_HOP,
    "framings": FRAMINGS,
    "local": LOCAL,
}
