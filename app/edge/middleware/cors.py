"""Stage: cross-origin requests, answered from the row's methods (Fetch standard, "CORS protocol").

It stands after the route, since the row knows the methods, and before the token, since preflights carry none.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from app.edge.headers import Headers
from app.edge.record import Answer, Record
from app.edge.table import Table

MAX_AGE_S = 600

_EXPOSED = b"X-Request-Id, Location, Retry-After, RateLimit, RateLimit-Policy, Idempotent-Replayed"
_FIELD_NAMES = re.compile(rb"[A-Za-z0-9!#$%&'*+\-.^_`|~, ]{1,1024}")


@dataclass(frozen=True, slots=True)
class NoteOrigin:
    """Set `allowed_origin` before anything can be refused, so that a page can read the refusal it caused."""

    origins: frozenset[bytes]

    def __call__(self, record: Record) -> Answer | None:
        if self.origins:
            record.varies_by_origin = True
            origin = record.first(b"origin")
            if origin in self.origins:
                record.allowed_origin = origin
        return None


@dataclass(frozen=True, slots=True)
class ApplyCors:
    """Answer preflights of listed origins; others are requests like any, with the method OPTIONS."""

    table: Callable[[], Table]

    def __call__(self, record: Record) -> Answer | None:
        if preflight_method(record) is None:
            return None
        methods = b", ".join(self.table().registry.rows_of(record.path))
        headers = [
            (b"access-control-allow-methods", methods),
            (b"access-control-max-age", b"%d" % MAX_AGE_S),
        ]
        asked = record.first(b"access-control-request-headers")
        if asked is not None and _FIELD_NAMES.fullmatch(asked):
            headers.append((b"access-control-allow-headers", asked))
        record.reason = "preflight"
        return Answer(204, headers, b"")


def preflight_method(record: Record) -> bytes | None:
    """Tell which method a listed origin's preflight asks for; None when this is no preflight."""
    if record.method != b"OPTIONS" or record.allowed_origin is None:
        return None
    return record.first(b"access-control-request-method")


def cors_headers(record: Record) -> Headers:
    """Make the fields that every answer carries: the origin that may read it, and that others get another answer.

    Source: Fetch, "CORS protocol and HTTP caches".
    """
    if not record.varies_by_origin:
        return []
    vary = (b"vary", b"Origin")
    if record.allowed_origin is None:
        return [vary]
    return [
        (b"access-control-allow-origin", record.allowed_origin),
        (b"access-control-allow-credentials", b"true"),
        (b"access-control-expose-headers", _EXPOSED),
        vary,
    ]
