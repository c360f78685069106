"""`portico routes`: print the table, check it without starting anything, explain what one request gets."""

import sys
from pathlib import Path

from app.edge.faults import PathNotAllowed
from app.edge.routes import Route, RouteRegistry
from app.edge.routing import path_flaw
from app.kernel.errors import Fault
from app.settings import Settings, find_config
from app.surfaces.cli.root import Root


def _load(root: Root, config: Path | None) -> tuple[Settings, RouteRegistry]:
    settings = root.load_settings(config)
    return settings, RouteRegistry.compile(settings.gateway.routes, settings.gateway.upstreams)


def show(root: Root, config: Path | None) -> int:
    settings, table = _load(root, config)
    rows = [
        (
            "|".join(sorted(method.decode() for method in route.methods)) or "*",
            route.pattern.decode() + ("" if route.is_exact else "/*"),
            route.access.value,
            " ".join(_targets(settings, route)),
        )
        for route in table.routes
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3], sep="  ")
    return 0


def check(root: Root, config: Path | None) -> int:
    _, table = _load(root, config)
    print(f"{find_config(config)}: {len(table.routes)} routes, nothing wrong")
    return 0


def explain(root: Root, config: Path | None, method: str, path: str) -> int:
    """Tell which row a request takes and why, by the very functions the edge decides with."""
    settings, table = _load(root, config)
    method = method.upper()
    raw = path.partition("?")[0].encode()
    try:
        flaw = path_flaw(raw, encoded_slashes=True)
        if flaw is not None:
            raise PathNotAllowed(f"The path is not passed on: {flaw}.")
        route = table.match(method.encode(), raw)
        target = route.upstream_path(method.encode(), raw).decode()
    except Fault as fault:
        print(f"{method} {path}: refused with {fault.type}: {fault.detail}", file=sys.stderr)
        return 1
    print(f"{method} {path}")
    print(f"  row     {route.label} ({'exact path' if route.is_exact else 'longest prefix'})")
    print(f"  access  {route.access.value}: {_who(settings, route)}")
    for url in _targets(settings, route):
        # the path in the upstream's URL is part of what is sent
        print(f"  to      {url.removesuffix(route.base_path.decode())}{target if route.upstream else ''}")
    return 0


def _targets(settings: Settings, route: Route) -> list[str]:
    if route.upstream is None:
        return ["local"]
    return [url.rstrip("/") for url in settings.gateway.upstreams[route.upstream].urls]


def _who(settings: Settings, route: Route) -> str:
    from app.edge.provider import role_table  # noqa: PLC0415 - only this line needs it

    values = role_table(settings).groups.get(route.access)
    if values is None:
        return "everybody, with or without a token"
    return f"roles {', '.join(sorted(values))}" if values else "nobody"
