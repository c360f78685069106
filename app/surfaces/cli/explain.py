"""Why a request takes the row it takes, or none: found by the very functions the edge decides with. Pure."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from app.edge.faults import PathNotAllowed, RouteMethodNotAllowed, RouteNotFound
from app.edge.routes import Route, RouteRegistry
from app.edge.routing import as_understood, as_written, path_flaw, query_flaw
from app.kernel.errors import Fault
from app.kernel.identity import Access, RoleTable
from app.settings import UpstreamRow

NEAR_ENOUGH = 0.8


@dataclass(frozen=True, slots=True)
class Facts:
    """What a table says about requests; `upstreams` are its rows, for their addresses."""

    registry: RouteRegistry
    upstreams: Mapping[str, UpstreamRow]
    roles: RoleTable

    def who(self, access: Access) -> str:
        values = self.roles.groups.get(access)
        if values is None:
            return "everybody, with or without a token"
        return f"roles {', '.join(sorted(values))}" if values else "nobody"

    def targets(self, route: Route, path: str = "") -> list[str]:
        """List the URLs of a row's endpoints, with the path that would be sent to each."""
        if route.upstream is None:
            return ["local"]
        urls = (url.rstrip("/") for url in self.upstreams[route.upstream].urls)
        if not path:
            return list(urls)
        # the path in the upstream's URL is part of what is sent
        return [url.removesuffix(route.base_path.decode()) + path for url in urls]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Lines of a name and a text, in the order to be read. `refusal` is the problem's type, or empty."""

    method: str
    path: str
    lines: Sequence[tuple[str, str]]
    refusal: str = ""
    detail: str = ""


def explain(facts: Facts, method: str, target: str) -> Explanation:
    """Explain a request for a path, with or without a query, or for a URL of the gateway."""
    if target.startswith(("http://", "https://")):
        parts = urlsplit(target)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    method, (path, _, query) = method.upper(), target.partition("?")
    try:
        _check_target(path.encode(), query.encode())
        route = facts.registry.match(method.encode(), path.encode())
        sent = route.upstream_path(method.encode(), path.encode()).decode()
    except Fault as fault:
        hints = tuple(("hint", hint) for hint in _hints(facts, fault, path))
        return Explanation(method, target, hints, fault.type, fault.detail)
    return Explanation(method, target, tuple(_about(facts, route, method, path, sent)))


def _check_target(path: bytes, query: bytes) -> None:
    """Errors: PathNotAllowed, as the stage before the route does."""
    flaw = path_flaw(path, encoded_slashes=True) or query_flaw(query)
    if flaw is not None:
        raise PathNotAllowed(f"The path is not passed on: {flaw}.")


def _about(facts: Facts, route: Route, method: str, path: str, sent: str) -> Iterable[tuple[str, str]]:
    yield "row", f"{route.label} ({'exact path' if route.is_exact else 'longest prefix'})"
    yield "why", _why(facts.registry, route, method, path)
    yield "access", f"{route.access.value}: {facts.who(route.access)}"
    if route.guarded_by:
        words = f"{route.also_access.value}: {facts.who(route.also_access)}"
        yield "and", f"{words}; many services answer it as they answer {route.guarded_by}"
    for url in facts.targets(route, sent):
        yield "to", url
    if route.limit is not None:
        yield "limit", f"{route.limit.words} for each caller, up to {route.limit.burst} at once"
    if route.websocket:
        yield "tunnel", "a WebSocket handshake is let through by the same rules"
    forwarded = [*(["the access token"] if route.forward_token else []), *_cookies(route)]
    if forwarded:
        yield "sends", ", ".join(forwarded)


def _cookies(route: Route) -> Iterable[str]:
    return (f"the cookie {name.decode()}" for name in sorted(route.forward_cookies))


def _why(registry: RouteRegistry, route: Route, method: str, path: str) -> str:
    fits = [one for one in registry.routes if one.label != route.label and _lies_below(one, path)]
    rivals = [one.label for one in fits if one.pattern == route.pattern and one.is_exact is route.is_exact]
    others = [one.label for one in fits if one.label not in rivals]
    because = []
    if rivals:
        because.append(f"{'names' if route.methods else 'takes the rest, among them'} {method}, unlike {_join(rivals)}")
    if route.is_exact and others:
        because.append(f"an exact path beats {_join(others)}")
    elif others:
        because.append(f"its prefix is longer than that of {_join(others)}")
    return "; ".join(because) or "no other row has this path"


def _lies_below(route: Route, path: str) -> bool:
    pattern = route.pattern.decode()
    return path == pattern or (not route.is_exact and path.startswith(pattern.removesuffix("/") + "/"))


def _join(labels: Sequence[str]) -> str:
    return ", ".join(labels[:3]) + (f" and {len(labels) - 3} more" if len(labels) > 3 else "")


def _hints(facts: Facts, fault: Fault, path: str) -> Iterable[str]:
    """Tell what would be let through instead."""
    if isinstance(fault, RouteMethodNotAllowed):
        rows = dict.fromkeys(facts.registry.rows_of(path.encode()).values())
        yield from (f"there is {row.label} ({row.access.value})" for row in rows)
    elif isinstance(fault, RouteNotFound):
        yield from _near_rows(facts.registry, path)
    elif isinstance(fault, PathNotAllowed):
        yield from _other_spellings(facts.registry, path)


def _near_rows(registry: RouteRegistry, path: str) -> Iterable[str]:
    """Find rows that a slash, a capital letter or a slip of the pen is between."""
    other = path.removesuffix("/") if path.endswith("/") else f"{path}/"
    rows = {one.pattern.decode().lower(): one for one in registry.routes}
    head = path.lower().split("/")
    # a prefix is compared with as many segments as it has itself
    tries = {"/".join(head[:count]) for count in range(2, len(head) + 1)}
    near = {row for one in sorted(tries) for row in difflib.get_close_matches(one, rows, n=2, cutoff=NEAR_ENOUGH)}
    for pattern in sorted(near, key=len, reverse=True)[:3]:
        row = rows[pattern]
        if row.pattern.decode() == other:
            yield f"{other} would take {row.label}: a slash at the end makes another path"
        elif row.pattern.decode() != pattern or pattern in tries:
            yield f"{row.label} is near: capital letters count"
        else:
            yield f"{row.label} is near"


def _other_spellings(registry: RouteRegistry, path: str) -> Iterable[str]:
    understood = as_understood(path.encode())
    rows = registry.rows_as_understood(path.encode()) if path_flaw(path.encode()) is None else None
    if rows and understood != path.encode():
        row = next(iter(rows.values()))
        yield f"an upstream may read it as {understood.decode(errors='replace')}, which is for {row.label}"
    plain = as_written(path)
    if plain != path and path_flaw(plain.encode()) is None:
        yield f"clients write it {plain}"
