"""`portico routes`: print the table, check it without starting anything, explain what one request gets."""

import json
import sys
from pathlib import Path

from app.edge.provider import role_table
from app.edge.routes import Route, RouteRegistry
from app.settings import ConfigurationInvalid, find_config
from app.surfaces.cli import explain as explaining
from app.surfaces.cli.explain import Explanation, Facts
from app.surfaces.cli.root import Root


def _load(root: Root, config: Path | None) -> Facts:
    settings = root.load_settings(config)
    rows = settings.gateway
    return Facts(RouteRegistry.compile(rows.routes, rows.upstreams), rows.upstreams, role_table(settings))


def show(root: Root, config: Path | None, *, as_json: bool = False) -> int:
    facts = _load(root, config)
    if as_json:
        return _print_json([_row(facts, route) for route in facts.registry.routes])
    rows = [
        (
            "|".join(_methods(route)) or "*",
            route.pattern.decode() + ("" if route.is_exact else "/*"),
            route.access.value,
            " ".join(facts.targets(route)),
        )
        for route in facts.registry.routes
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3], sep="  ")
    return 0


def check(root: Root, config: Path | None, *, as_json: bool = False) -> int:
    """Exit codes: 0, 2 with everything wrong."""
    if not as_json:
        print(f"{find_config(config)}: {len(_load(root, config).registry.routes)} routes, nothing wrong")
        return 0
    try:
        count = len(_load(root, config).registry.routes)
    except ConfigurationInvalid as invalid:
        problems = [
            {"where": one.where, "key": one.key, "message": one.message, "mend": one.mend} for one in invalid.problems
        ]
        _print_json({"file": str(find_config(config)), "problems": problems})
        return 2
    return _print_json({"file": str(find_config(config)), "routes": count, "problems": []})


def explain(root: Root, config: Path | None, method: str, path: str, *, as_json: bool = False) -> int:
    """Tell which row a request takes and why. Exit codes: 0, 1 when it would be refused."""
    told = explaining.explain(_load(root, config), method, path)
    if as_json:
        _print_json(_fields(told))
    elif told.refusal:
        print(f"{told.method} {told.path}: refused with {told.refusal}: {told.detail}", file=sys.stderr)
        _print_lines(told)
    else:
        print(f"{told.method} {told.path}")
        _print_lines(told)
    return 1 if told.refusal else 0


def _print_lines(told: Explanation) -> None:
    for name, text in told.lines:
        print(f"  {name:6}  {text}", file=sys.stderr if told.refusal else sys.stdout)


def _fields(told: Explanation) -> dict[str, object]:
    """Name each line; what there may be several of is a list."""
    found: dict[str, object] = {"method": told.method, "path": told.path}
    if told.refusal:
        found |= {"refused": told.refusal, "detail": told.detail}
    lists = ("hint",) if told.refusal else ("to",)
    found |= {name: [text for key, text in told.lines if key == name] for name in lists}
    return found | {name: text for name, text in told.lines if name not in lists}


def _row(facts: Facts, route: Route) -> dict[str, object]:
    return {
        "methods": _methods(route),
        "path" if route.is_exact else "prefix": route.pattern.decode(),
        "access": route.access.value,
        "to": facts.targets(route),
        "rate_limit": route.limit.words if route.limit else None,
    }


def _methods(route: Route) -> list[str]:
    return sorted(method.decode() for method in route.methods)


def _print_json(value: object) -> int:
    print(json.dumps(value, indent=2))
    return 0
