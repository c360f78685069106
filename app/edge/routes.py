"""The route table: who may enter by which path, and where it goes. One row answers both questions; no row, no entry.

`RouteRegistry.compile` checks the rows as a whole and reports everything wrong at once; what it returns is immutable
and is replaced, never changed. Pure matching rules live in `routing.py`, the rows' shape in `rows.py`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from app.edge.faults import PathNotAllowed, RouteMethodNotAllowed, RouteNotFound
from app.edge.routing import METHODS, find_rows, path_flaw, strip_run, with_unreserved_decoded
from app.edge.rows import RouteRow, UpstreamRow
from app.kernel.identity import Access

DEFAULT_MAX_BODY_BYTES = 2 * 1024**3
DEFAULT_MAX_LOCAL_BODY_BYTES = 4 * 1024**2


@dataclass(frozen=True, slots=True)
class RouteProblem:
    """One thing wrong with the table: the row it concerns, what is wrong, how to mend it."""

    row: str
    message: str
    mend: str = ""


class RouteTableInvalid(Exception):
    def __init__(self, problems: Iterable[RouteProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(f"{problem.row}: {problem.message}" for problem in self.problems))


@dataclass(frozen=True, slots=True)
class Rewrite:
    methods: frozenset[bytes]
    match: re.Pattern[str]
    to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A compiled row. `upstream` is None for Portico's own endpoints; empty `methods` stands for all of them."""

    label: str
    pattern: bytes
    is_exact: bool
    methods: frozenset[bytes]
    access: Access
    upstream: str | None
    strip_span: tuple[int, int] | None = None
    rewrites: tuple[Rewrite, ...] = ()
    timeout_s: float | None = None
    max_body_bytes: int
    encoded_slashes: bool = False
    forward_token: bool = False
    forward_cookies: frozenset[bytes] = frozenset()
    base_path: bytes = b""

    def takes(self, method: bytes) -> bool:
        return not self.methods or method in self.methods

    def upstream_path(self, method: bytes, path: bytes) -> bytes:
        """Tell the path the upstream is sent; errors: PathNotAllowed when a rewrite made an unsafe one."""
        if self.strip_span is None and not self.rewrites and not self.base_path:
            return path
        if self.strip_span is not None:
            path = strip_run(path, self.strip_span)
        for rewrite in self.rewrites:
            found = rewrite.match.fullmatch(path.decode("ascii")) if method in rewrite.methods else None
            if found is not None:
                path = found.expand(rewrite.to).encode()
                break
        path = self.base_path + path
        flaw = path_flaw(path, encoded_slashes=self.encoded_slashes)
        if flaw is not None:
            raise PathNotAllowed("The path this route makes of it is not one the front door passes on: " + flaw + ".")
        return path


@dataclass(frozen=True, slots=True)
class RouteRegistry:
    """Cost: matching is one dictionary look-up a path segment, for 5 rows as for 5,000."""

    routes: tuple[Route, ...]
    _exact: Mapping[bytes, tuple[Route, ...]] = field(repr=False)
    _prefixes: Mapping[bytes, tuple[Route, ...]] = field(repr=False)

    @classmethod
    def compile(cls, routes: Sequence[RouteRow], upstreams: Mapping[str, UpstreamRow]) -> "RouteRegistry":
        """Check and compile rows. Errors: RouteTableInvalid with every problem."""
        problems: list[RouteProblem] = []
        compiled = [
            route for number, row in enumerate(routes, 1) for route in _compile(number, row, upstreams, problems)
        ]
        exact: dict[bytes, tuple[Route, ...]] = {}
        prefixes: dict[bytes, tuple[Route, ...]] = {}
        for route in compiled:
            table = exact if route.is_exact else prefixes
            rivals = table.get(route.pattern, ())
            problems += [_ambiguity(route, rival) for rival in rivals if _overlap(route, rival)]
            # among rows of the same path the one that names the method wins
            table[route.pattern] = tuple(sorted((*rivals, route), key=lambda one: not one.methods))
        if problems:
            raise RouteTableInvalid(problems)
        return cls(tuple(compiled), exact, prefixes)

    def rows_of(self, path: bytes) -> Sequence[Route]:
        """Find the rows of a raw path, whatever the method. Errors: RouteNotFound, PathNotAllowed."""
        rows = find_rows(self._exact, self._prefixes, path)
        if b"%" in path:
            plain = with_unreserved_decoded(path)
            if plain != path and find_rows(self._exact, self._prefixes, plain) is not rows:
                raise PathNotAllowed("The path encodes characters that need no encoding, and would mean another route.")
        if not rows:
            raise RouteNotFound("No route leads to this path.")
        return rows

    def match(self, method: bytes, path: bytes) -> Route:
        """Find the one row of a request. Errors: RouteNotFound, RouteMethodNotAllowed, PathNotAllowed."""
        rows = self.rows_of(path)
        if method in METHODS:
            for route in rows:
                if route.takes(method):
                    return route
        allowed = b", ".join(allowed_methods(rows)).decode()
        raise RouteMethodNotAllowed(f"This path takes {allowed}.", headers={"allow": allowed})


def allowed_methods(rows: Sequence[Route]) -> list[bytes]:
    return [method for method in METHODS if any(route.takes(method) for route in rows)]


def _compile(
    number: int, row: RouteRow, upstreams: Mapping[str, UpstreamRow], problems: list[RouteProblem]
) -> Iterable[Route]:
    pattern = row.path if row.path is not None else row.prefix
    label = f"{'path' if row.path is not None else 'prefix'} {pattern}"
    found = list(_flaws(row, pattern, upstreams))
    if found or pattern is None:
        where = f"routes[{number}] ({label})"
        problems += [RouteProblem(where, message, mend) for message, mend in found]
        return
    methods = frozenset(method.encode() for method in row.methods)
    limit = DEFAULT_MAX_LOCAL_BODY_BYTES if row.local else DEFAULT_MAX_BODY_BYTES
    yield Route(
        label=f"{'|'.join(row.methods) + ' ' if row.methods else ''}{pattern}{'' if row.path is not None else '/*'}",
        pattern=pattern.encode(),
        is_exact=row.path is not None,
        methods=methods,
        access=Access(row.access),
        upstream=row.upstream,
        strip_span=_strip_span(pattern, row.strip) if row.strip else None,
        rewrites=tuple(
            Rewrite(frozenset(m.encode() for m in r.methods) or frozenset(METHODS), re.compile(r.match), r.to)
            for r in row.rewrite
        ),
        timeout_s=row.timeout_s,
        max_body_bytes=limit if row.max_body_bytes is None else row.max_body_bytes,
        encoded_slashes=row.encoded_slashes,
        forward_token=row.forward_token,
        forward_cookies=frozenset(name.encode() for name in row.forward_cookies),
        base_path=urlsplit(upstreams[row.upstream].url).path.rstrip("/").encode() if row.upstream else b"",
    )


def _flaws(row: RouteRow, pattern: str | None, upstreams: Mapping[str, UpstreamRow]) -> Iterable[tuple[str, str]]:
    if pattern is None or (row.path is not None and row.prefix is not None):
        yield "needs either `path` or `prefix`", "`path` is exact, `prefix` takes everything below it"
        return
    flaw = path_flaw(pattern.encode())
    if flaw is not None:
        yield f"is no path a client could send: {flaw}", "write it as clients send it"
    if row.prefix is not None and pattern != "/" and pattern.endswith("/"):
        yield "a prefix ends without a slash", f'write prefix = "{pattern.rstrip("/")}"'
    if row.local == (row.upstream is not None):
        yield "needs either `upstream` or `local = true`", "say where it goes"
    if row.upstream is not None and row.upstream not in upstreams:
        known = ", ".join(sorted(upstreams)) or "none"
        yield f"upstream {row.upstream!r} is unknown or not set", f"known: {known}"
    if row.local and (row.strip or row.rewrite or row.forward_cookies or row.forward_token):
        yield "a local row forwards nothing", "remove strip, rewrite, forward_token and forward_cookies"
    unknown = [method for method in row.methods if method.encode() not in METHODS]
    if unknown:
        yield f"does not know the method {', '.join(unknown)}", f"known: {b', '.join(METHODS).decode()}"
    if row.strip and _strip_span(pattern, row.strip) is None:
        yield f"strip {row.strip!r} is no run of whole segments of it", "it must stand in the row's own path"
    yield from _rewrite_flaws(row)


def _rewrite_flaws(row: RouteRow) -> Iterable[tuple[str, str]]:
    for rewrite in row.rewrite:
        try:
            groups = re.compile(rewrite.match).groups
            re.sub(rewrite.match, rewrite.to, "")  # parses the replacement, too
        except (re.error, IndexError) as error:
            yield f"rewrite {rewrite.match!r} -> {rewrite.to!r}: {error}", "a regular expression and its replacement"
            continue
        if not groups and path_flaw(rewrite.to.encode()) is not None:
            yield f"rewrites to {rewrite.to!r}, which is no path", "start with a slash"


def _strip_span(pattern: str, strip: str) -> tuple[int, int] | None:
    if not strip.startswith("/") or strip.endswith("/"):
        return None
    start = pattern.find(strip)
    while start >= 0:
        end = start + len(strip)
        if end == len(pattern) or pattern[end] == "/":
            return start, end
        start = pattern.find(strip, start + 1)
    return None


def _overlap(one: Route, other: Route) -> bool:
    return bool(one.methods) == bool(other.methods) and (not one.methods or not one.methods.isdisjoint(other.methods))


def _ambiguity(route: Route, rival: Route) -> RouteProblem:
    shared = ", ".join(sorted(m.decode() for m in route.methods & rival.methods)) or "every method"
    return RouteProblem(route.label, f"takes the same requests as {rival.label} ({shared})", "remove one of them")
