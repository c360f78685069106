"""The services behind the front door: where each one listens, how long we wait for it, how many connections it gets.

A pool is made from a row of `[upstreams]`; everything counted here is per worker process.
"""

import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from app.edge.endpoint import UpstreamEndpoint
from app.edge.routes import RouteProblem
from app.edge.routing import path_flaw, query_flaw
from app.edge.upstream import Deadlines
from app.edge.upstream_answer import AnswerHead
from app.edge.upstream_pool import Endpoint, UpstreamPool

SSE_IDLE_TIMEOUT_S = 300


class UpstreamTableRow(Protocol):
    """A row of `[upstreams]`; times in seconds."""

    @property
    def url(self) -> str: ...
    @property
    def health(self) -> str | None: ...
    @property
    def connect_timeout_s(self) -> float: ...
    @property
    def response_timeout_s(self) -> float: ...
    @property
    def idle_timeout_s(self) -> float: ...
    @property
    def max_connections(self) -> int: ...
    @property
    def retries(self) -> int: ...
    @property
    def ca(self) -> Path | None: ...
    @property
    def server_name(self) -> str | None: ...
    @property
    def verify(self) -> bool: ...


@dataclass(slots=True)
class RetryBudget:
    """Allow a tenth of the requests to be tried again, so that retries cannot multiply an outage.

    Every request earns a tenth of a retry, up to ten retries saved.
    """

    tenths: int = 100

    def earn(self) -> None:
        self.tenths = min(100, self.tenths + 1)

    def spend(self) -> bool:
        if self.tenths < 10:
            return False
        self.tenths -= 10
        return True


@dataclass(slots=True, eq=False)
class Upstream:
    name: str
    endpoints: tuple[UpstreamEndpoint, ...]
    deadlines: Deadlines
    connect_timeout_s: float
    retries: int
    health_path: str | None = None
    event_idle_timeout_s: float = SSE_IDLE_TIMEOUT_S
    budget: RetryBudget = field(default_factory=RetryBudget)

    def pick(self, tried: UpstreamEndpoint | None = None) -> UpstreamEndpoint:
        """Choose where to send a request; after a failure, another endpoint than `tried` if there is one."""
        del tried
        return self.endpoints[0]

    async def aclose(self) -> None:
        """Cut every exchange and close every connection."""
        for endpoint in self.endpoints:
            await endpoint.pool.aclose()

    def idle_timeout_s(self, head: AnswerHead) -> float:
        """Tell how long an answer's body may be silent: a stream of events much longer, as it waits for them."""
        media_type = next((value for name, value in head.headers if name == b"content-type"), b"")
        if media_type.partition(b";")[0].strip().lower() == b"text/event-stream":
            return max(self.event_idle_timeout_s, self.deadlines.idle_timeout_s)
        return self.deadlines.idle_timeout_s


def open_upstreams(rows: Mapping[str, UpstreamTableRow]) -> dict[str, Upstream]:
    """Make the upstreams of checked rows; no connection is opened yet. Must be called inside the event loop."""
    return {name: _open(name, row) for name, row in rows.items()}


def _open(name: str, row: UpstreamTableRow) -> Upstream:
    return Upstream(
        name=name,
        endpoints=(
            UpstreamEndpoint(UpstreamPool(_endpoint(row), max_connections=row.max_connections), _authority(row)),
        ),
        deadlines=Deadlines(response_timeout_s=row.response_timeout_s, idle_timeout_s=row.idle_timeout_s),
        connect_timeout_s=row.connect_timeout_s,
        retries=row.retries,
        health_path=row.health,
    )


def upstream_flaws(rows: Mapping[str, UpstreamTableRow]) -> Iterable[RouteProblem]:
    """Tell everything wrong with the rows, before anything is opened."""
    for name, row in rows.items():
        where = f"upstreams.{name}"
        if not _is_url(row.url):
            yield RouteProblem(where, f"{row.url!r} is no http, https or unix URL", 'e.g. "http://127.0.0.1:8001"')
            continue
        if row.health is not None and not _is_target(row.health):
            yield RouteProblem(where, "health must be a path", 'e.g. "/api/health/ping"')
        if row.ca is not None and not _is_certificates(row.ca):
            yield RouteProblem(where, f"ca {str(row.ca)!r} holds no certificates", "name a PEM file")


def _is_url(url: str) -> bool:
    if url.startswith("unix:/"):
        return True
    try:
        parts = urlsplit(url)
        has_port = parts.port is None or parts.port > 0
    except ValueError:
        return False
    is_plain = not (parts.query or parts.fragment or parts.username)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and has_port and is_plain


def _is_target(text: str) -> bool:
    path, _, query = text.encode().partition(b"?")
    return path_flaw(path) is None and query_flaw(query) is None


def _is_certificates(file: Path) -> bool:
    try:
        ssl.create_default_context(cafile=str(file))
    except OSError:  # ssl.SSLError is one
        return False
    return True


def _endpoint(row: UpstreamTableRow) -> Endpoint:
    if row.url.startswith("unix:"):
        return Endpoint(path=row.url.removeprefix("unix:"))
    parts = urlsplit(row.url)
    is_tls = parts.scheme == "https"
    return Endpoint(
        host=parts.hostname or "",
        port=parts.port or (443 if is_tls else 80),
        tls=_tls(row) if is_tls else None,
        server_name=row.server_name,
    )


def _authority(row: UpstreamTableRow) -> bytes:
    if row.url.startswith("unix:"):
        return (row.server_name or "localhost").encode()
    return urlsplit(row.url).netloc.encode("idna" if not row.url.isascii() else "ascii")


def _tls(row: UpstreamTableRow) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(row.ca) if row.ca else None)
    if not row.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
