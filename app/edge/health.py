"""Whether the upstreams are there: asked in the background, through the very pools that carry the requests."""

import functools

from app.edge.upstream_exchange import Exchange
from app.edge.upstream_failures import UpstreamFailure
from app.edge.upstreams import Upstream
from app.infra.observability.health import HealthRegistry, NotWell


def watch_upstreams(health: HealthRegistry, upstreams: dict[str, Upstream]) -> None:
    """Register a check for each upstream; none is required, since the gateway serves the others without it."""
    for name, upstream in upstreams.items():
        health.add("http", name, functools.partial(check_upstream, upstream))


async def check_upstream(upstream: Upstream) -> str:
    """Ask the upstream's `health` path; without one, only that it accepts a connection. Errors: NotWell."""
    pool = upstream.endpoints[0].pool
    try:
        connection = await pool.acquire(connect_timeout_s=upstream.connect_timeout_s)
        if upstream.health_path is None:
            connection.abort()
            return f"{pool.endpoint}: accepts connections"
        async with Exchange(connection) as exchange:
            head = b"GET %b HTTP/1.1\r\nhost: %b\r\nuser-agent: portico-health\r\n\r\n"
            exchange.begin(b"GET", head % (upstream.health_path.encode(), upstream.endpoints[0].authority))
            status = (await exchange.head()).status
            async for _ in exchange.body():
                pass
    except UpstreamFailure as failure:
        raise NotWell(f"{pool.endpoint}: {failure}") from failure
    if status >= 400:
        raise NotWell(f"{pool.endpoint}: {upstream.health_path} answers {status}")
    return f"{pool.endpoint}: {upstream.health_path} answers {status}"
