"""The route table: who may enter by which path, and where it goes. One row answers both questions; no row, no entry.

`RouteRegistry.compile` checks the rows as a whole and reports everything wrong at once; what it returns is immutable
and is replaced, never changed. Pure matching rules live in `routing.py`, the rows' shape in `rows.py`, the flaws of a
single row in `route_flaws.py`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from app.edge.faults import PathNotAllowed, RouteMethodNotAllowed, RouteNotFound
from app.edge.route_flaws import base_path, row_flaws, strip_span
from app.edge.routing import METHODS, RowIndex, as_understood, path_flaw, strip_run
from app.edge.rows import RouteRow, UpstreamRow
from app.kernel.identity import Access, Principal

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
    also_access: Access = Access.PUBLIC

    @property
    def is_public(self) -> bool:
        return self.access is Access.PUBLIC and self.also_access is Access.PUBLIC

    def admits(self, principal: Principal | None) -> bool:
        """Say whether the door opens for this caller, or for an anonymous one."""
        if self.is_public:
            return True
        return principal is not None and principal.may_enter(self.access) and principal.may_enter(self.also_access)

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
            raise PathNotAllowed(f"What this route makes of the path is not passed on: {flaw}.")
        return path


@dataclass(frozen=True, slots=True)
class RouteRegistry:
    routes: tuple[Route, ...]
    _index: RowIndex[Route] = field(repr=False)
    _index_as_understood: RowIndex[Route] = field(repr=False)

    @classmethod
    def compile(cls, routes: Sequence[RouteRow], upstreams: Mapping[str, UpstreamRow]) -> "RouteRegistry":
        """Check and compile rows. Errors: RouteTableInvalid with every problem."""
        problems: list[RouteProblem] = []
        compiled: list[Route] = []
        for number, row in enumerate(routes, 1):
            where = f"routes[{number}] ({_label(row)})"
            found = [RouteProblem(where, message, mend) for message, mend in row_flaws(row, upstreams)]
            problems += found
            if not found:
                compiled.append(_compile(row, upstreams))
        exact, prefixes = _by_pattern(compiled, is_exact=True), _by_pattern(compiled, is_exact=False)
        for rivals in (*exact.values(), *prefixes.values()):
            problems += _contradictions(rivals)
        if problems:
            raise RouteTableInvalid(problems)
        index = RowIndex.build(exact, prefixes)
        return cls(tuple(compiled), index, index.as_understood())

    def rows_of(self, path: bytes) -> Sequence[Route]:
        """Find the rows of a raw path, whatever the method. Errors: RouteNotFound, PathNotAllowed."""
        rows = self._index.find(path)
        if (b"%" in path or b";" in path) and self._index_as_understood.find(as_understood(path)) is not rows:
            raise PathNotAllowed("The path is spelled so that it could mean another route.")
        if not rows:
            raise RouteNotFound("No route leads to this path.")
        return rows

    def match(self, method: bytes, path: bytes) -> Route:
        """Find the one row of a request. Errors: RouteNotFound, RouteMethodNotAllowed, PathNotAllowed."""
        rows = self.rows_of(path)
        route = next((route for route in rows if route.takes(method)), None) if method in METHODS else None
        if route is None:
            allowed = b", ".join(allowed_methods(rows)).decode()
            raise RouteMethodNotAllowed(f"This path takes {allowed}.", headers={"allow": allowed})
        flaw = path_flaw(path) if b"%" in path and not route.encoded_slashes else None
        if flaw is not None:
            raise PathNotAllowed(f"The path is not passed on: {flaw}.")
        return route if route.is_exact else self._with_neighbour(route, method, path)

    def _with_neighbour(self, route: Route, method: bytes, path: bytes) -> Route:
        """Ask for the access of the exact row that differs by a slash at the end, too.

        Many an upstream serves `/admin/` as `/admin`: a wider prefix around a strict path must not be a way round it.
        """
        neighbours = self._index.exact.get(path[:-1] if path.endswith(b"/") else path + b"/", ())
        neighbour = next((one for one in neighbours if one.takes(method)), None)
        return route if neighbour is None else replace(route, also_access=neighbour.access)


def allowed_methods(rows: Sequence[Route]) -> list[bytes]:
    return [method for method in METHODS if any(route.takes(method) for route in rows)]


def _label(row: RouteRow) -> str:
    methods = "|".join(row.methods) + " " if row.methods else ""
    return f"{methods}{row.path}" if row.path is not None else f"{methods}{(row.prefix or '').rstrip('/')}/*"


def _compile(row: RouteRow, upstreams: Mapping[str, UpstreamRow]) -> Route:
    pattern = row.path or row.prefix or ""
    limit = DEFAULT_MAX_LOCAL_BODY_BYTES if row.local else DEFAULT_MAX_BODY_BYTES
    return Route(
        label=_label(row),
        pattern=pattern.encode(),
        is_exact=row.path is not None,
        methods=frozenset(method.encode() for method in row.methods),
        access=Access(row.access),
        upstream=row.upstream,
        strip_span=strip_span(pattern, row.strip) if row.strip else None,
        rewrites=tuple(
            Rewrite(frozenset(m.encode() for m in r.methods) or frozenset(METHODS), re.compile(r.match), r.to)
            for r in row.rewrite
        ),
        timeout_s=row.timeout_s,
        max_body_bytes=limit if row.max_body_bytes is None else row.max_body_bytes,
        encoded_slashes=row.encoded_slashes,
        forward_token=row.forward_token,
        forward_cookies=frozenset(name.encode() for name in row.forward_cookies),
        base_path=base_path(upstreams[row.upstream]) if row.upstream else b"",
    )


def _by_pattern(routes: Iterable[Route], *, is_exact: bool) -> dict[bytes, tuple[Route, ...]]:
    """Group rows by path; among rows of the same path the one that names the method stands before the one for all."""
    found: dict[bytes, tuple[Route, ...]] = {}
    for route in sorted(routes, key=lambda one: not one.methods):
        if route.is_exact is is_exact:
            found[route.pattern] = (*found.get(route.pattern, ()), route)
    return found


def _contradictions(rivals: Sequence[Route]) -> Iterable[RouteProblem]:
    """Tell which rows of one path take the same requests, and which take none, since the others take them all."""
    taken: set[bytes] = set()
    for number, route in enumerate(rivals):
        for rival in rivals[:number]:
            shared = route.methods & rival.methods
            if shared or not rival.methods:
                words = ", ".join(sorted(method.decode() for method in shared)) or "every method"
                message = f"takes the same requests as {rival.label} ({words})"
                yield RouteProblem(route.label, message, "remove one of them")
        if not route.methods and taken.issuperset(METHODS):
            yield RouteProblem(route.label, "is shadowed: other rows of this path take every method", "remove it")
        taken |= route.methods
