"""The record of one request: what the client sent, what the stages found out, how it ended.

Everything the access log says comes from here. Rule: stages write their own fields only; nothing here is shared between
requests.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from msgspec import Struct

from app.edge.headers import Headers
from app.edge.routes import Route
from app.edge.upstreams import Upstream
from app.kernel.identity import Principal

SAFE_METHODS = frozenset({b"GET", b"HEAD", b"OPTIONS"})
NO_EVIDENCE: Mapping[str, object] = MappingProxyType({})


class Record(Struct):
    """Shapes: `path` and `query` are the raw bytes of the target, `query` without "?"; times in seconds.

    A struct, because one is copied for each request in a fifth of the time in which one of forty fields is made.
    """

    method: bytes
    path: bytes
    query: bytes
    headers: Headers
    peer: str
    scheme: str
    started_s: float
    is_upgrade: bool = False

    client: str = ""
    is_peer_trusted: bool = False
    route: Route | None = None
    upstream: Upstream | None = None
    upstream_path: bytes = b""
    principal: Principal | None = None
    is_token_from_cookie: bool = False
    allowed_origin: bytes | None = None
    varies_by_origin: bool = False
    by_name: dict[bytes, bytes] | None = None
    """the first value of each field, once somebody asked for one"""

    id: str = ""
    has_given_id: bool = False
    """a trusted peer's, of whatever shape"""
    trace_id: str = ""
    span_id: int = 0
    parent_span_id: str = ""
    trace_flags: int = 1
    tracestate: bytes = b""
    are_keys_fresh: bool = False
    is_open: bool = False
    limit_lines: bytes = b""
    """fields of the answer that tell the row's limit, as lines"""

    status: int = 0
    reason: str = ""
    bytes_in: int = 0
    bytes_out: int = 0
    endpoint: str = ""
    retries: int = 0
    evidence: Mapping[str, object] = NO_EVIDENCE

    def again(self, started_s: float) -> "Record":
        """Begin the record of a request with the same head; this one is `pristine`."""
        record: Record = self.__copy__()  # type: ignore[attr-defined] # every struct has it; the stubs do not
        record.started_s = started_s
        return record

    def pristine(self) -> "Record":
        """Keep what the head alone decides."""
        return Record(
            self.method,
            self.path,
            self.query,
            self.headers,
            self.peer,
            self.scheme,
            0.0,  # started_s
            False,  # is_upgrade: a handshake's head is never met again
            self.client,
            self.is_peer_trusted,
            self.route,
            self.upstream,
            self.upstream_path,
            self.principal,
            self.is_token_from_cookie,
            self.allowed_origin,
            self.varies_by_origin,
            self.by_name,
        )

    def first(self, name: bytes) -> bytes | None:
        by_name = self.by_name
        if by_name is None:
            by_name = self.by_name = dict(reversed(self.headers))
        return by_name.get(name)

    def all(self, name: bytes) -> list[bytes]:
        if self.first(name) is None:
            return []
        return [value for key, value in self.headers if key == name]


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer the edge gives by itself; the mount adds the length, the request id and the CORS headers."""

    status: int
    headers: Headers
    body: bytes
