"""The route table: who may enter by which path, and where it goes. One row answers both questions; no row, no entry.

`RouteRegistry.compile` checks the rows as a whole and reports everything wrong at once; what it returns is immutable
and is replaced, never changed. Pure matching rules live in `routing.py`, the rows' shape in `rows.py`, the flaws of a
single row in `route_flaws.py`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from app.edge.faults import PathNotAllowed, RouteMethodNotAllowed, RouteNotFound
from app.edge.rate_limit import RateLimit, read_limit
from app.edge.route_flaws import base_path, row_flaws, strip_span
from app.edge.routing import METHODS, RowIndex, as_understood, path_flaw
from app.edge.rows import RouteRow, UpstreamRow
from app.kernel.identity import Access, Principal

PERCENT, SEMICOLON = b"%;"  # numbers: a byte is found in bytes ten times as fast as a text of one byte
DEFAULT_MAX_BODY_BYTES = 2 * 1024**3
DEFAULT_MAX_LOCAL_BODY_BYTES = 4 * 1024**2


class ErrorShape(StrEnum):
    """In whose words a row's clients are told what is wrong."""

    PROBLEM = "problem"
    OPENAI = "openai"


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
    """A compiled row. `upstream` is None for Portico's own endpoints; empty `methods` stands for all of them.

    The upstream is sent `sent_before` and what follows the first `skipped_bytes` of the path. `guarded_by` is the label
    of the exact row whose other spelling, with or without a slash at the end, this is; its access is `also_access`.
    """

    label: str
    pattern: bytes
    is_exact: bool
    methods: frozenset[bytes]
    access: Access
    upstream: str | None
    sent_before: bytes = b""
    skipped_bytes: int = 0
    rewrites: tuple[Rewrite, ...] = ()
    timeout_s: float | None = None
    max_body_bytes: int
    encoded_slashes: bool = False
    forward_token: bool = False
    forward_cookies: frozenset[bytes] = frozenset()
    base_path: bytes = b""
    also_access: Access = Access.PUBLIC
    guarded_by: str = ""
    limit: RateLimit | None = None
    websocket: bool = False
    errors: ErrorShape = ErrorShape.PROBLEM

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
        """Tell the path the upstream is sent; errors: PathNotAllowed when a rewrite made an unsafe one.

        `path` is one this row was found for. Without whole segments of the row's own, it is as safe as it was.
        """
        sent = self.sent_before + path[self.skipped_bytes :] or b"/"
        if self.rewrites:
            sent = self._rewritten(method, sent)
        return self.base_path + sent if self.base_path else sent

    def _rewritten(self, method: bytes, path: bytes) -> bytes:
        for rewrite in self.rewrites:
            found = rewrite.match.fullmatch(path.decode("ascii")) if method in rewrite.methods else None
            if found is not None:
                path = found.expand(rewrite.to).encode()
                break
        flaw = path_flaw(path, encoded_slashes=self.encoded_slashes)
        if flaw is not None:
            raise PathNotAllowed(f"What this route makes of the path is not passed on: {flaw}.")
        return path


@dataclass(slots=True)
class CompiledRows:
    """The rows of the table that was compiled last: those that are the same object are not compiled again.

    A row's own route hangs on its upstream's row as well.
    """

    _routes: Mapping[int, tuple[RouteRow, Route]] = field(default_factory=dict)
    _upstreams: Mapping[str, UpstreamRow] = field(default_factory=dict)

    def unchanged(self, upstreams: Mapping[str, UpstreamRow]) -> Mapping[int, tuple[RouteRow, Route]]:
        """Find those that would become the same again, by the identity of their row."""
        names = {None, *(name for name, row in upstreams.items() if self._upstreams.get(name) == row)}
        return {key: made for key, made in self._routes.items() if made[0].upstream in names}

    def remember(self, rows: Sequence[RouteRow], routes: Sequence[Route], upstreams: Mapping[str, UpstreamRow]) -> None:
        self._routes = {id(row): (row, route) for row, route in zip(rows, routes, strict=True)}
        self._upstreams = upstreams


type Rows = Mapping[bytes, Route]
"""The rows of one path: which one takes each method."""


@dataclass(frozen=True, slots=True)
class RouteRegistry:
    """Cost of a match: that of `RowIndex`, and one look-up of the method."""

    routes: tuple[Route, ...]
    _index: RowIndex[Rows] = field(repr=False)
    _index_as_understood: RowIndex[Rows] = field(repr=False)

    @classmethod
    def compile(
        cls, routes: Sequence[RouteRow], upstreams: Mapping[str, UpstreamRow], known: CompiledRows | None = None
    ) -> "RouteRegistry":
        """Check and compile rows, which are `known` from then on. Errors: RouteTableInvalid with every problem."""
        known = known or CompiledRows()
        problems: list[RouteProblem] = []
        compiled: list[Route] = []
        unchanged = known.unchanged(upstreams)
        for number, row in enumerate(routes, 1):
            if (made := unchanged.get(id(row))) is not None:
                compiled.append(made[1])
                continue
            where = f"routes[{number}] ({_label(row)})"
            found = [RouteProblem(where, message, mend) for message, mend in row_flaws(row, upstreams)]
            problems += found
            if not found:
                compiled.append(_compile(row, upstreams))
        exact, prefixes = _by_pattern(compiled, is_exact=True), _by_pattern(compiled, is_exact=False)
        for rivals in (*exact.values(), *prefixes.values()):
            if len(rivals) > 1:
                problems += _contradictions(rivals)
        if problems:
            raise RouteTableInvalid(problems)
        known.remember(routes, compiled, upstreams)
        index = RowIndex.build(_by_method(exact), _by_method(prefixes))
        index = RowIndex.build({**index.exact, **_guarded(index)}, index.prefixes)
        return cls(tuple(compiled), index, index.as_understood())

    def rows_of(self, path: bytes) -> Rows:
        """Find the rows of a raw path, whatever the method. Errors: RouteNotFound, PathNotAllowed."""
        rows = self._index.find(path)
        if PERCENT in path or SEMICOLON in path:
            self._check_spelling(path, rows)
        if rows is None:
            raise RouteNotFound("No route leads to this path.")
        return rows

    def rows_as_understood(self, path: bytes) -> Rows | None:
        """Find the rows a path would take by what an upstream may understand of it."""
        return self._index_as_understood.find(as_understood(path))

    def _check_spelling(self, path: bytes, rows: Rows | None) -> None:
        if self.rows_as_understood(path) is not rows:
            raise PathNotAllowed("The path is spelled so that it could mean another route.")

    def match(self, method: bytes, path: bytes) -> Route:
        """Find the one row of a request. Errors: RouteNotFound, RouteMethodNotAllowed, PathNotAllowed."""
        rows = self.rows_of(path)
        route = rows.get(method)
        if route is None:
            allowed = b", ".join(rows).decode()
            raise RouteMethodNotAllowed(f"This path takes {allowed}.", headers={"allow": allowed})
        if PERCENT in path and not route.encoded_slashes:
            flaw = path_flaw(path)
            if flaw is not None:
                raise PathNotAllowed(f"The path is not passed on: {flaw}.")
        return route


def _label(row: RouteRow) -> str:
    methods = "|".join(row.methods) + " " if row.methods else ""
    return f"{methods}{row.path}" if row.path is not None else f"{methods}{(row.prefix or '').rstrip('/')}/*"


def _compile(row: RouteRow, upstreams: Mapping[str, UpstreamRow]) -> Route:
    pattern = row.path or row.prefix or ""
    start, end = (row.strip and strip_span(pattern, row.strip)) or (0, 0)
    limit = DEFAULT_MAX_LOCAL_BODY_BYTES if row.local else DEFAULT_MAX_BODY_BYTES
    return Route(
        label=_label(row),
        pattern=pattern.encode(),
        is_exact=row.path is not None,
        methods=frozenset(method.encode() for method in row.methods),
        access=Access(row.access),
        upstream=row.upstream,
        sent_before=pattern[:start].encode(),
        skipped_bytes=end,
        rewrites=tuple(
            Rewrite(frozenset(m.encode() for m in r.methods) or frozenset(METHODS), re.compile(r.match), r.to)
            for r in row.rewrite
        ),
        timeout_s=row.timeout_s,
        max_body_bytes=limit if row.max_body_bytes is None else row.max_body_bytes,
        encoded_slashes=row.encoded_slashes,
        forward_token=row.forward_token,
        forward_cookies=frozenset(name.encode() for name in row.forward_cookies),
        websocket=row.websocket,
        errors=ErrorShape(row.errors),
        limit=read_limit(row.rate_limit, row.burst, name=_label(row)),
        base_path=base_path(upstreams[row.upstream]) if row.upstream else b"",
    )


def _by_pattern(routes: Iterable[Route], *, is_exact: bool) -> dict[bytes, tuple[Route, ...]]:
    """Group rows by path; among rows of the same path the one that names the method stands before the one for all."""
    found: dict[bytes, tuple[Route, ...]] = {}
    for route in sorted(routes, key=lambda one: not one.methods):
        if route.is_exact is is_exact:
            found[route.pattern] = (*found.get(route.pattern, ()), route)
    return found


def _by_method(rows: Mapping[bytes, Sequence[Route]]) -> dict[bytes, Rows]:
    return {path: _takers(rivals) for path, rivals in rows.items()}


def _takers(rivals: Sequence[Route]) -> Rows:
    """Tell who takes each method: the first that does."""
    if len(rivals) == 1 and not rivals[0].methods:  # nearly every row
        return dict.fromkeys(METHODS, rivals[0])
    takers = ((method, next((one for one in rivals if one.takes(method)), None)) for method in METHODS)
    return {method: taker for method, taker in takers if taker is not None}


def _guarded(index: RowIndex[Rows]) -> dict[bytes, Rows]:
    """Make the rows of the paths that differ from an exact one by a slash at the end, where a prefix takes those.

    Many an upstream serves `/admin/` as `/admin`: a wider prefix around a strict path must not be a way round it.
    """
    found: dict[bytes, Rows] = {}
    for path, strict in index.exact.items():
        other = path.removesuffix(b"/") if path.endswith(b"/") else path + b"/"
        wide = index.below(other) if other not in index.exact else None
        guards = {method: one for method, one in strict.items() if one.access is not Access.PUBLIC}
        if wide is not None and not wide.keys().isdisjoint(guards):
            found[other] = {method: _with_guard(route, guards.get(method)) for method, route in wide.items()}
    return found


def _with_guard(route: Route, guard: Route | None) -> Route:
    return route if guard is None else replace(route, also_access=guard.access, guarded_by=guard.label)


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
