"""The gateway under test: its route table and what is switched on.

Everything that a production gateway does to a request is on: request id, RS256 verification, role check, hygiene,
rate limit, metrics, access log (appended to a file that is emptied between measurements).
"""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from bench.edge.site import STATIC, STREAMS, Site
from bench.gateway import Gateway, running_gateway

MAX_CONNECTIONS = 1024  # to an origin, as Envoy's default
LIMIT = "1000000/second"  # counted on every request, never reached
LOGGED = {"LOG_LEVEL": "20", "LOG_JSON": "true"}
TWO_WORKERS = ("--workers", "2")


def rows(site: Site) -> str:
    return "".join(
        f"""
[upstreams.{name}]
url = "http://127.0.0.1:{port}"
max_connections = {MAX_CONNECTIONS}

[[routes]]
prefix = "{prefix}"
upstream = "{name}"
access = "COMMON"
rate_limit = "{LIMIT}"
"""
        for name, port, prefix in (("static", site.static_port, STATIC), ("streams", site.streams_port, STREAMS))
    ) + (
        """
[[routes]]
prefix = "/api/health"
local = true
access = "PUBLIC"
"""
    )


@contextmanager
def serving(site: Site, options: Sequence[str] = (), *, is_tls: bool = False) -> Iterator[Gateway]:
    tls = ("--tls-cert", str(site.certificate), "--tls-key", str(site.key)) if is_tls else ()
    trust = site.trust if is_tls else None
    with running_gateway(site.issuer, rows=rows(site), options=(*options, *tls), environ=LOGGED, tls=trust) as gateway:
        yield gateway


def knows_workers() -> bool:
    """Tell whether `portico serve` takes `--workers`."""
    told = subprocess.run([sys.executable, "-m", "app", "serve", "--help"], capture_output=True, text=True, check=True)
    return "--workers" in told.stdout
