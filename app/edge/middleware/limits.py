"""Stage: what is malformed or too large is refused before anything is decided about it.

Facts
- A server must answer 400 to a request with no `Host`, more than one, or an invalid one (RFC 9112 §3.2).
- 414 is for the target, 431 for the fields (RFC 9110 §15.5.15, RFC 6585 §5).
"""

import ipaddress
import re
from dataclasses import dataclass

from app.edge.faults import HeadMalformed, HeadTooLarge, PathNotAllowed, TargetTooLong
from app.edge.record import Answer, Record
from app.edge.routing import METHODS, path_flaw, query_flaw

MAX_TARGET_BYTES = 8 * 1024
MAX_HEAD_BYTES = 32 * 1024
MAX_FIELDS = 100

# reg-name or IPv4, without the characters no host name has, or bracketed IPv6, and a port (RFC 3986 §3.2.2)
_LABEL = rb"[A-Za-z0-9_~\-]+"
_HOST = re.compile(rb"(?:%b(?:\.%b)*\.?|\[([0-9A-Fa-f:.]+)\])(?::([0-9]{1,5}))?" % (_LABEL, _LABEL))
MAX_PORT = 65535


@dataclass(frozen=True, slots=True)
class CheckHead:
    """Refuse what two readers could understand differently. Errors: 400, 414, 431.

    `OPTIONS *` asks about no path but about us, and is answered here (RFC 9110 §9.3.7).
    """

    def __call__(self, record: Record) -> Answer | None:
        if len(record.path) + len(record.query) + 1 > MAX_TARGET_BYTES:
            raise TargetTooLong(f"The request line may have {MAX_TARGET_BYTES} bytes.")
        if len(record.headers) > MAX_FIELDS:
            raise HeadTooLarge(f"The head may have {MAX_FIELDS} fields.")
        hosts = 0
        size = 0
        for name, value in record.headers:
            size += len(name) + len(value) + 4
            if name == b"host":
                hosts += 1
                if not _is_host(value):
                    raise HeadMalformed("The Host field is not a valid host.")
        if size > MAX_HEAD_BYTES:
            raise HeadTooLarge(f"The head may have {MAX_HEAD_BYTES} bytes.")
        if hosts != 1:
            raise HeadMalformed("The head must have exactly one Host field.")
        _check_framing(record)
        if record.method == b"OPTIONS" and record.path == b"*" and not record.query:
            record.reason = "options"
            return Answer(204, [(b"allow", b", ".join(METHODS))], b"")
        # a route may allow encoded slashes: that is decided when the route is known
        flaw = path_flaw(record.path, encoded_slashes=True) or (query_flaw(record.query) if record.query else None)
        if flaw is not None:
            raise PathNotAllowed(f"The path is not passed on: {flaw}.")
        return None


def _is_host(value: bytes) -> bool:
    found = _HOST.fullmatch(value)
    if found is None or int(found[2] or 0) > MAX_PORT:
        return False
    return found[1] is None or _is_ipv6(found[1].decode())


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _check_framing(record: Record) -> None:
    """Refuse what leaves open where the body ends. Source: RFC 9112 §6.1, §6.3; a parser may skip an upgrade's body."""
    encodings, lengths = record.all(b"transfer-encoding"), record.all(b"content-length")
    if not encodings and not lengths:
        return
    if len(encodings) + len(lengths) > 1 or (encodings and encodings[0].lower() != b"chunked"):
        raise HeadMalformed("The body's framing is ambiguous.")
    if lengths != [b"0"] and record.first(b"upgrade") is not None:
        raise HeadMalformed("A request that asks for an upgrade may have no body.")
