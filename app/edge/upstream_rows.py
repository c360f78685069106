"""Rows of `[upstreams]`: what is wrong with them, and where they say an upstream listens."""

import ipaddress
import ssl
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import SplitResult, urlsplit

from app.edge.routes import RouteProblem
from app.edge.routing import path_flaw, query_flaw
from app.edge.upstream_pool import Endpoint

URLS_LIMIT = 16


class UpstreamTableRow(Protocol):
    """A row of `[upstreams]`; times in seconds. `url` is the first of `urls`."""

    @property
    def url(self) -> str: ...
    @property
    def urls(self) -> Sequence[str]: ...
    @property
    def health(self) -> str | None: ...
    @property
    def openapi(self) -> str | None: ...
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
    def breaker_failures(self) -> int: ...
    @property
    def breaker_window_s(self) -> float: ...
    @property
    def ca(self) -> Path | None: ...
    @property
    def server_name(self) -> str | None: ...
    @property
    def verify(self) -> bool: ...


@dataclass(frozen=True, slots=True, eq=False)
class Site:
    """What one URL says: where to dial, and which Host to name. A site with a host name may have many addresses."""

    endpoint: Endpoint
    authority: bytes
    has_name: bool


def sites_of(row: UpstreamTableRow) -> tuple[Site, ...]:
    """Read the URLs of a checked row."""
    tls = _tls(row) if row.url.startswith("https:") else None
    return tuple(_site(url, tls, row.server_name) for url in row.urls)


def upstream_flaws(rows: Mapping[str, UpstreamTableRow]) -> Iterable[RouteProblem]:
    """Tell everything wrong with the rows, before anything is opened."""
    for name, row in rows.items():
        where = f"upstreams.{name}"
        for message, mend in _url_flaws(row):
            yield RouteProblem(where, message, mend)
        if row.health is not None and not _is_target(row.health):
            yield RouteProblem(where, "health must be a path", 'e.g. "/api/health/ping"')
        if row.openapi is not None and not _is_target(row.openapi):
            yield RouteProblem(where, "openapi must be a path", 'e.g. "/openapi.json"')
        if row.ca is not None and not _is_certificates(row.ca):
            yield RouteProblem(where, f"ca {str(row.ca)!r} holds no certificates", "name a PEM file")


def _url_flaws(row: UpstreamTableRow) -> Iterable[tuple[str, str]]:
    wrong = [url for url in row.urls if not _is_url(url)]
    for url in wrong:
        yield f"{url!r} is no http, https or unix URL", 'e.g. "http://127.0.0.1:8001"'
    if wrong:
        return
    if len(row.urls) > URLS_LIMIT:
        yield f"urls has {len(row.urls)} entries", f"{URLS_LIMIT} are the most"
    if len(set(row.urls)) < len(row.urls):
        yield "urls names an endpoint twice", "remove one: all get the same share"
    if len({urlsplit(url).scheme for url in row.urls}) > 1:
        yield "urls mixes http, https and unix", "give all of them one scheme"
    elif len({_base(urlsplit(url)) for url in row.urls}) > 1:
        yield "urls differ in their path", "give all of them one path: a request may go to any"


def _base(parts: SplitResult) -> str:
    return "" if parts.scheme == "unix" else parts.path.rstrip("/")


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


def _site(url: str, tls: ssl.SSLContext | None, server_name: str | None) -> Site:
    if url.startswith("unix:"):
        authority = (server_name or "localhost").encode()
        return Site(Endpoint(path=url.removeprefix("unix:")), authority, has_name=False)
    parts = urlsplit(url)
    host = parts.hostname or ""
    endpoint = Endpoint(host, parts.port or (443 if tls else 80), tls=tls, server_name=server_name or host)
    authority = parts.netloc.encode("ascii" if url.isascii() else "idna")
    return Site(endpoint, authority, has_name=_is_name(host))


def _is_name(host: str) -> bool:
    """Tell names from addresses. `localhost` is none: its addresses are one service, and each dial tries them all."""
    if host == "localhost" or host.endswith(".localhost"):
        return False
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return False


def _tls(row: UpstreamTableRow) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(row.ca) if row.ca else None)
    if not row.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
