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
_PARENT = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?P<trace>(?!0{32})[0-9a-f]{32})-(?P<span>(?!0{16})[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})"
    rb"(?P<more>-[\x20-\x7e]*)?"
)
_TRACE_ID = re.compile(r"(?!0{32})[0-9a-fA-F]{32}")
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
        if not record.is_peer_trusted:
            record.trace_id = record.id
            return None
        given = record.first(b"traceparent")
        if given is None or not _join(record, given):
            is_trace_id = _TRACE_ID.fullmatch(record.id) is not None
            record.trace_id = record.id.lower() if is_trace_id else secrets.token_hex(16)
        return None


def traceparent(record: Record) -> bytes:
    """Write what is sent on: the request's trace, with our span as the parent of whatever happens there."""
    return b"00-%b-%016x-%02x" % (record.trace_id.encode(), record.span_id, record.trace_flags)


def _join(record: Record, given: bytes) -> bool:
    found = _PARENT.fullmatch(given)
    if found is None or (given.startswith(b"00") and found["more"] is not None):
        return False
    if len(record.all(b"traceparent")) > 1:
        return False
    record.trace_id = found["trace"].decode()
    record.parent_span_id = found["span"].decode()
    record.trace_flags = int(found["flags"], 16) & _KNOWN_FLAGS
    record.tracestate = _state(record.all(b"tracestate"))
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
