"""Everything that can be wrong with one row of the table, each with its mend. Pure; `routes.py` asks for it at load."""

import re
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from app.edge.rate_limit import limit_flaws
from app.edge.routing import METHODS, as_written, path_flaw
from app.edge.rows import RewriteRow, RouteRow, UpstreamRow

type Flaw = tuple[str, str]
"""What is wrong, and how to mend it."""

_GROUP_REFERENCE = re.compile(r"\\(?:g<\w+>|[0-9]{1,2})")


def row_flaws(row: RouteRow, upstreams: Mapping[str, UpstreamRow]) -> Iterable[Flaw]:
    if (row.path is None) == (row.prefix is None):
        yield "needs either `path` or `prefix`", "`path` is exact, `prefix` takes everything below it"
    for pattern in (row.path, row.prefix):
        if pattern is not None:
            yield from _pattern_flaws(pattern)
    if row.prefix is not None and row.prefix != "/" and row.prefix.endswith("/"):
        yield "a prefix ends without a slash", f'write prefix = "{row.prefix.rstrip("/")}"'
    yield from _method_flaws(row.methods)
    yield from _target_flaws(row, upstreams)
    yield from limit_flaws(row.rate_limit, row.burst)
    if row.strip and strip_span(row.path or row.prefix or "", row.strip) is None:
        yield f"strip {row.strip!r} is no run of whole segments of it", "it must stand in the row's own path"
    for number, rewrite in enumerate(row.rewrite):
        yield from _rewrite_flaws(rewrite, row, earlier=row.rewrite[:number])


def _pattern_flaws(pattern: str) -> Iterable[Flaw]:
    flaw = path_flaw(pattern.encode())
    if flaw is not None:
        yield f"is no path a client could send: {flaw}", f'write it as clients send it, e.g. "{as_written(pattern)}"'
    elif pattern != as_written(pattern):
        yield "is spelled so that other spellings of it would miss it", f'write "{as_written(pattern)}"'


def _method_flaws(methods: Iterable[str]) -> Iterable[Flaw]:
    unknown = [method for method in methods if method.encode() not in METHODS]
    if unknown:
        yield f"does not know the method {', '.join(unknown)}", f"known: {b', '.join(METHODS).decode()}"


def _target_flaws(row: RouteRow, upstreams: Mapping[str, UpstreamRow]) -> Iterable[Flaw]:
    if row.local == (row.upstream is not None):
        yield "needs either `upstream` or `local = true`", "say where it goes"
    if row.local and (row.strip or row.rewrite or row.forward_cookies or row.forward_token):
        yield "a local row forwards nothing", "remove strip, rewrite, forward_token and forward_cookies"
    if row.websocket and row.local:
        yield "a local row opens no tunnel", "remove websocket: what is local takes the handshakes it knows"
    elif row.websocket and row.methods and "GET" not in row.methods:
        yield "a WebSocket begins with GET, which the row does not take", "add GET to methods, or remove websocket"
    if row.upstream is None:
        return
    if row.upstream not in upstreams:
        yield f"upstream {row.upstream!r} is unknown or not set", f"known: {', '.join(sorted(upstreams)) or 'none'}"
    elif path_flaw(b"/" + base_path(upstreams[row.upstream]).lstrip(b"/")) is not None:
        yield f"the path in the URL of upstream {row.upstream!r} could not be sent", "encode it, without `.` and `..`"


def _rewrite_flaws(rewrite: RewriteRow, row: RouteRow, *, earlier: Iterable[RewriteRow]) -> Iterable[Flaw]:
    name = f"rewrite {rewrite.match!r} -> {rewrite.to!r}"
    yield from ((f"{name} {message}", mend) for message, mend in _method_flaws(rewrite.methods))
    missed = set(rewrite.methods) - set(row.methods) if row.methods else set()
    if missed:
        yield f"{name} is for {', '.join(sorted(missed))}, which the row does not take", "remove the method"
    if any(one.match == rewrite.match and _covers(one, rewrite) for one in earlier):
        yield f"{name} is shadowed by an earlier one with the same match", "remove one of them"
    try:
        re.sub(rewrite.match, rewrite.to, "")  # parses the replacement, too
    except (re.error, IndexError) as error:
        yield f"{name}: {error}", "a regular expression and its replacement"
    else:
        if path_flaw(_GROUP_REFERENCE.sub("x", rewrite.to).encode()) is not None:
            yield f"{name} makes no path", "start with a slash, and leave the query out"


def _covers(one: RewriteRow, other: RewriteRow) -> bool:
    return not one.methods or (bool(other.methods) and set(other.methods) <= set(one.methods))


def strip_span(pattern: str, strip: str) -> tuple[int, int] | None:
    """Find where `strip` stands in a row's path as a run of whole segments; None when it does not."""
    if not strip.startswith("/") or strip.endswith("/"):
        return None
    start = pattern.find(strip)
    while start >= 0:
        end = start + len(strip)
        if end == len(pattern) or pattern[end] == "/":
            return start, end
        start = pattern.find(strip, start + 1)
    return None


def base_path(upstream: UpstreamRow) -> bytes:
    """Read the path in an upstream's URL, which goes before every path; a broken URL is reported elsewhere."""
    try:
        parts = urlsplit(upstream.url)
    except ValueError:
        return b""
    # the path of a unix: URL is the socket's
    return parts.path.rstrip("/").encode() if parts.scheme in {"http", "https"} else b""
