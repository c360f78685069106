"""Stage: the trace a request belongs to (W3C Trace Context, https://www.w3.org/TR/trace-context-2/).

Facts
- `traceparent` is version-trace id-parent id-flags, in lower-case hex; version ff and ids of zeros are invalid, and a
  later version may only add fields at the end (§3.2). Two fields of the name are none (§3.2.1 allows one).
- `tracestate` is dropped where `traceparent` is missing or invalid (§3.3.1.1); at least 512 characters of it and up to
  32 members are passed on (§3.3.1.5). Several fields are one list.
"""

import itertools
import re
import secrets
from dataclasses import dataclass, field

from app.edge.record import Answer, Record

MAX_STATE_BYTES = 512
MAX_STATE_MEMBERS = 32

_SAMPLED = 0x01
_KNOWN_FLAGS = 0x03  # sampled, and that the trace id is random
_PARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(?:-[\x20-\x7e]*)?")
_LENGTH = 55
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16
_TRACE_ID = re.compile(r"[0-9a-f]{32}")
_MEMBER = re.compile(
    rb"(?:[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})"
    rb"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)


@dataclass(frozen=True, slots=True)
class JoinTrace:
    """Go on with the trace a trusted peer is in; start one for anybody else, and where what the peer says is invalid.

    A trace of our own has the request's id where that has the shape of a trace id. Span ids count from a random
    number, so that those of several gateways in one trace differ.
    """

    _spans: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1 + secrets.randbits(62)))

    def __call__(self, record: Record) -> Answer | None:
        record.span_id = next(self._spans)
        has_trace = record.is_peer_trusted and record.first(b"traceparent") is not None
        if not has_trace and not record.has_given_id:
            record.trace_id = record.id
            return None
        given = record.all(b"traceparent") if has_trace else []
        if len(given) != 1 or not _join(record, given[0]):
            own = record.id.lower()
            is_trace_id = _TRACE_ID.fullmatch(own) is not None and own != _NO_TRACE
            record.trace_id = own if is_trace_id else secrets.token_hex(16)
        return None


def _join(record: Record, given: bytes) -> bool:
    version, text = given[:2], given.decode("latin-1")
    if _PARENT.fullmatch(given) is None or version == b"ff" or (version == b"00" and len(given) != _LENGTH):
        return False
    trace_id, span_id = text[3:35], text[36:52]
    if trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return False
    record.trace_id, record.parent_span_id = trace_id, span_id
    record.trace_flags = int(text[53:55], 16) & _KNOWN_FLAGS
    states = [value for name, value in record.headers if name == b"tracestate"]
    if states:
        record.tracestate = _state(states)
    return True


def is_sampled(record: Record) -> bool:
    return bool(record.trace_flags & _SAMPLED)


def _state(fields: list[bytes]) -> bytes:
    """Join the members of all fields, empty ones left out; nothing where one is malformed or there are too many."""
    members = [member for text in fields for part in text.split(b",") if (member := part.strip(b" \t"))]
    if len(members) > MAX_STATE_MEMBERS or not all(_MEMBER.fullmatch(member) for member in members):
        return b""
    while members and len(b",".join(members)) > MAX_STATE_BYTES:
        members.pop()  # §3.3.1.5: from the end
    return b",".join(members)
