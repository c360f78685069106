"""The table that is served: rows, upstreams and groups as one value, which a reload replaces between two requests.

Rule: read it once for a request. What was matched in one table finds its upstream in the same one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.edge.routes import RouteRegistry
from app.edge.upstreams import Upstream


@dataclass(frozen=True, slots=True)
class Table:
    """`generation` grows with every reload: what is remembered about one table does not hold for the next."""

    registry: RouteRegistry
    upstreams: Mapping[str, Upstream] = field(default_factory=dict)
    generation: int = 1
