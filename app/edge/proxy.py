"""What is written to an upstream for a request that was let in, and what its failures become. Pure: no socket here.

The mounts do the I/O: `asgi.py` with `Exchange`, the protocol with callbacks.
"""

from collections.abc import Sequence
from enum import Enum, auto

from app.edge.faults import (
    ForwardingLoop,
    HeadMalformed,
    UpstreamAnswerBroken,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from app.edge.headers import (
    Headers,
    cookie_header,
    counted_down,
    field_lines,
    forwarded_headers,
    without_token_protocols,
)
from app.edge.record import Record
from app.edge.routes import Route
from app.edge.upstream_failures import (
    ConnectFailed,
    ConnectTimedOut,
    PoolExhausted,
    UpstreamBroken,
    UpstreamFailure,
    UpstreamTimedOut,
)
from app.kernel.errors import Fault

PSEUDONYM = b"portico"
PASSES_LIMIT = 8
"""gateways of ours may stand one behind the other, but not so many"""
IDEMPOTENT = frozenset({b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS"})


class BodyFraming(Enum):
    """How the request's body is delimited on the way to the upstream: by us, whatever the client wrote."""

    NONE = auto()
    LENGTH = auto()
    CHUNKED = auto()


def framing_of(record: Record) -> BodyFraming:
    if record.first(b"transfer-encoding") is not None:
        return BodyFraming.CHUNKED
    return BodyFraming.NONE if record.first(b"content-length") is None else BodyFraming.LENGTH


def declared_bytes(record: Record, framing: BodyFraming) -> int | None:
    """Tell how long the body must be; a head without framing promises that there is none."""
    if framing is BodyFraming.CHUNKED:
        return None
    return int(record.first(b"content-length") or 0)


def request_head(record: Record, authority: bytes, rest: bytes) -> bytes:
    """Write the head an upstream is sent: what is this request's own, and `rest` as `head_rest` made it."""
    target = record.upstream_path + b"?" + record.query if record.query else record.upstream_path
    state = b"tracestate: %b\r\n" % record.tracestate if record.tracestate else b""
    return b"%b %b HTTP/1.1\r\nhost: %b\r\nx-request-id: %b\r\ntraceparent: 00-%b-%016x-%02x\r\n%b%b" % (
        record.method, target, authority, record.id.encode(), record.trace_id.encode(), record.span_id,
        record.trace_flags, state, rest
    )  # fmt: skip


def head_rest(
    record: Record,
    route: Route,
    *,
    session_cookies: tuple[bytes, ...],
    framing: BodyFraming,
    version: bytes = b"1.1",
    is_upgrade: bool = False,
) -> bytes:
    """Write the rest of the head, the same for every request with the same head. Errors: HeadMalformed, ForwardingLoop.

    Strip first, add last: nothing a client wrote stands behind what we add. `version` is that of the client's HTTP.
    """
    kept = forwarded_headers(record.headers, is_peer_trusted=record.is_peer_trusted)
    if is_upgrade:
        kept = without_token_protocols(kept)
    if record.method == b"OPTIONS":
        kept = counted_down(kept)
    added = _added(record, route, session_cookies, framing)
    added.append((b"via", _via(record.all(b"via"), version)))
    if is_upgrade:
        added += [(b"connection", b"Upgrade"), (b"upgrade", b"websocket")]
    lines = field_lines(kept + added)
    count = len(kept) + len(added)
    # a server that lets line breaks or NUL through in a value must not let a client frame what we send (promise P1)
    if lines.count(b"\n") != count or lines.count(b"\r") != count or lines.find(0) >= 0:
        raise HeadMalformed("A field of the head holds a line break or NUL.")
    return lines + b"\r\n"


def _added(record: Record, route: Route, session_cookies: tuple[bytes, ...], framing: BodyFraming) -> Headers:
    added = _forwarding(record)
    if record.first(b"cookie") is not None:
        hidden = [name for name in session_cookies if name not in route.forward_cookies]
        cookie = cookie_header(record.headers, without=hidden)
        if cookie is not None:
            added.append((b"cookie", cookie))
    if record.principal is not None:
        added.append((b"x-user-id", record.principal.user_id.encode()))
        added.append((b"x-user-role", record.principal.role.encode()))
        if route.forward_token:
            added.append((b"authorization", b"Bearer " + record.principal.credential.encode()))
    if framing is BodyFraming.LENGTH:
        added.append((b"content-length", b"%d" % (declared_bytes(record, framing) or 0)))
    elif framing is BodyFraming.CHUNKED:
        added.append((b"transfer-encoding", b"chunked"))
    return added


def _forwarding(record: Record) -> Headers:
    """Append to what a trusted proxy said about the client; say it ourselves for everyone else."""
    before = b", ".join(record.all(b"x-forwarded-for")) if record.is_peer_trusted else b""
    proto = record.first(b"x-forwarded-proto") if record.is_peer_trusted else None
    host = record.first(b"x-forwarded-host") if record.is_peer_trusted else None
    peer = record.peer.encode() or b"unknown"
    return [
        (b"x-forwarded-for", before + b", " + peer if before else peer),
        (b"x-forwarded-proto", proto or record.scheme.encode()),
        (b"x-forwarded-host", host or record.first(b"host") or b""),
    ]


def _via(before: Sequence[bytes], version: bytes) -> bytes:
    """Add ourselves to those who passed the request on. Errors: ForwardingLoop.

    Source: RFC 9110 §7.6.3.
    """
    passed = [hop for text in before for part in text.split(b",") if (hop := part.strip(b" \t"))]
    if sum(hop.split()[1:2] == [PSEUDONYM] for hop in passed) >= PASSES_LIMIT:
        raise ForwardingLoop(f"The request has passed through gateways like this one {PASSES_LIMIT} times.")
    return b", ".join([*passed, version + b" " + PSEUDONYM])


def may_retry(method: bytes, failure: UpstreamFailure, *, is_body_started: bool, has_other: bool = False) -> bool:
    """Say whether trying again can do no harm: nothing was answered, and the request was not sent or is idempotent.

    A connection that did not come about would not come about again, and who was silent would be silent again, except
    at another endpoint (`has_other`). A wait for one of our own connections would only run out again (promise P6).
    """
    if is_body_started or failure.answered or isinstance(failure, PoolExhausted):
        return False
    is_harmless = not failure.sent or method in IDEMPOTENT
    return is_harmless and (has_other or isinstance(failure, UpstreamBroken))


def fault_of(failure: UpstreamFailure, upstream: str) -> Fault:
    """Tell 502, 503 and 504 apart."""
    evidence = {"upstream": upstream, "phase": failure.phase.value, "cause": str(failure)}
    if isinstance(failure, PoolExhausted):
        return UpstreamUnavailable(headers={"retry-after": "1"}, evidence=evidence)
    if isinstance(failure, ConnectTimedOut | UpstreamTimedOut):
        return UpstreamTimeout(evidence=evidence)
    if isinstance(failure, ConnectFailed):
        return UpstreamRefused(evidence=evidence)
    return UpstreamAnswerBroken(evidence=evidence)
