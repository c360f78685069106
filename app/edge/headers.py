"""Pure header rules: what goes to an upstream, what comes back, which cookie may carry a token.

Facts
- Hop-by-hop fields end at each hop, and so does every field named in `Connection` (RFC 9110 §7.6.1). Strip first, add
  last: a client's `Connection: x-user-id` must not remove what we add.
- Many servers read `X_User_Id` as `X-User-Id` (CGI, RFC 3875 §4.1.18), some `X.User.Id` too (lighttpd), so names are
  compared with every mark as `-`.
- `Set-Cookie` may repeat and must not be joined (RFC 6265 §3).
"""

from collections.abc import Iterable

type Headers = list[tuple[bytes, bytes]]
"""Names in lower case, in the order received, duplicates kept."""

HOP_BY_HOP = frozenset({
    b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te", b"trailer",
    b"transfer-encoding", b"upgrade",
})  # fmt: skip

# Never from a client: framing and target are ours, the others would name an identity or another target.
_NEVER_FORWARDED = HOP_BY_HOP | {
    b"host", b"content-length", b"expect", b"http2-settings", b"x-request-id", b"x-original-url", b"x-rewrite-url",
    b"x-http-method-override", b"x-http-method", b"x-method-override", b"authorization", b"cookie",
    b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"traceparent", b"tracestate", b"via",
}  # fmt: skip
_ONLY_FROM_TRUSTED = frozenset({b"forwarded", b"x-real-ip"})
_NEVER_PREFIXES = (b"x-user-", b"proxy-")
_TRUSTED_PREFIX = b"x-forwarded-"

SUBPROTOCOLS = b"sec-websocket-protocol"
BEARER_PROTOCOL = b"portico.bearer."
"""of a subprotocol that is a token: what a page can send with a handshake"""

_NEVER_RETURNED = HOP_BY_HOP | {b"content-length", b"server", b"x-powered-by", b"date", b"x-request-id"}
_CORS_PREFIX = b"access-control-"
_BODILESS = frozenset({204, 304})
_MARKS = bytes(byte for byte in range(256) if not chr(byte).isalnum() or byte > 0x7F)
_MARKS_AS_DASH = bytes.maketrans(_MARKS, b"-" * len(_MARKS))


def named_in_connection(headers: Headers) -> frozenset[bytes]:
    return frozenset(
        token.strip().lower().translate(_MARKS_AS_DASH)
        for name, value in headers
        if name == b"connection"
        for token in value.split(b",")
    )


def forwarded_headers(headers: Headers, *, is_peer_trusted: bool) -> Headers:
    """Keep what a client may tell an upstream; what `proxy.py` writes itself is left out."""
    named = named_in_connection(headers)
    kept: Headers = []
    for name, value in headers:
        plain = name.translate(_MARKS_AS_DASH)
        if plain in _NEVER_FORWARDED or plain.startswith(_NEVER_PREFIXES) or plain in named:
            continue
        is_about_client = plain in _ONLY_FROM_TRUSTED or plain.startswith(_TRUSTED_PREFIX)
        if is_about_client and not (is_peer_trusted and plain == name):
            continue
        kept.append((name, value))
    if any(name == b"te" and _names_trailers(value) for name, value in headers):
        kept.append((b"te", b"trailers"))
    return kept


def tokens_in_subprotocols(headers: Headers) -> list[bytes]:
    """List the tokens that a WebSocket's handshake names as subprotocols (RFC 6455 §11.3.4), in order."""
    return [
        protocol.removeprefix(BEARER_PROTOCOL)
        for protocol in _subprotocols(headers)
        if protocol.startswith(BEARER_PROTOCOL)
    ]


def without_token_protocols(headers: Headers) -> Headers:
    """Take the tokens out of a handshake that goes to an upstream; a field that held nothing else is gone."""
    if not any(name == SUBPROTOCOLS for name, _ in headers):
        return headers
    left = [protocol for protocol in _subprotocols(headers) if not protocol.startswith(BEARER_PROTOCOL)]
    others = [field for field in headers if field[0] != SUBPROTOCOLS]
    return [*others, (SUBPROTOCOLS, b", ".join(left))] if left else others


def _subprotocols(headers: Headers) -> list[bytes]:
    named = [part.strip(b" \t") for name, value in headers if name == SUBPROTOCOLS for part in value.split(b",")]
    return [protocol for protocol in named if protocol]


def forwards_left(headers: Headers) -> int | None:
    """Read `Max-Forwards`; None where it is missing, or says nothing that everybody would read alike."""
    given = [value for name, value in headers if name == b"max-forwards"]
    return int(given[0]) if len(given) == 1 and given[0].isdigit() and len(given[0]) < 10 else None


def counted_down(headers: Headers) -> Headers:
    """Say of a request that is passed on that it may be passed on once less, where it says so much."""
    left = forwards_left(headers)
    if left is None:
        return headers
    return [*(field for field in headers if field[0] != b"max-forwards"), (b"max-forwards", b"%d" % (left - 1))]


def _names_trailers(value: bytes) -> bool:
    return b"trailers" in (member.strip(b" \t").lower() for member in value.split(b","))


def returned_headers(status: int, headers: Headers) -> Headers:
    """Keep what an upstream may tell a client; framing, CORS and the request id are ours."""
    named = named_in_connection(headers)
    kept = [
        (name, value)
        for name, value in headers
        if (plain := name.translate(_MARKS_AS_DASH)) not in _NEVER_RETURNED
        and plain not in named
        and not plain.startswith(_CORS_PREFIX)
    ]
    if status < 200 or status in _BODILESS:
        return kept
    return kept + [(name, value) for name, value in headers if name == b"content-length"][:1]


def is_event_stream(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Tell whether an answer is server-sent events: it has no end in sight, and may be silent for long."""
    media_type = next((value for name, value in headers if name.lower() == b"content-type"), b"")
    return media_type.partition(b";")[0].strip().lower() == b"text/event-stream"


def field_lines(headers: Headers) -> bytes:
    return b"".join([b"%b: %b\r\n" % field for field in headers])


def fields_of(lines: bytes) -> Headers:
    """Read what `field_lines` wrote."""
    return [(name, value) for name, _, value in (line.partition(b": ") for line in lines.split(b"\r\n")) if name]


def cookies(headers: Headers, wanted: bytes) -> list[bytes]:
    """List the values of one cookie over all `Cookie` fields, in order."""
    return [value for name, value in _pairs(headers) if name == wanted]


def cookie_header(headers: Headers, *, without: Iterable[bytes]) -> bytes | None:
    """Join the cookies that may be forwarded; None when none is left."""
    hidden = frozenset(without)
    kept = [name + b"=" + value if is_pair else name for name, value, is_pair in _parts(headers) if name not in hidden]
    return b"; ".join(kept) or None


def _pairs(headers: Headers) -> Iterable[tuple[bytes, bytes]]:
    return ((name, value) for name, value, is_pair in _parts(headers) if is_pair)


def _parts(headers: Headers) -> Iterable[tuple[bytes, bytes, bool]]:
    for header, text in headers:
        if header != b"cookie":
            continue
        for part in text.split(b";"):
            name, separator, value = part.strip(b" \t").partition(b"=")
            if name or value:
                yield name.strip(b" \t"), value.strip(b" \t"), bool(separator)
