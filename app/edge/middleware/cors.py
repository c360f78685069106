"""Stage: cross-origin requests, answered from the row's methods (Fetch standard, "CORS protocol").

It stands after the route, since the row knows the methods, and before the token, since preflights carry none.
"""

from collections.abc import Callable
from dataclasses import dataclass

from app.edge.record import Answer, Headers, Record
from app.edge.routes import RouteRegistry, allowed_methods

MAX_AGE_S = 600


@dataclass(frozen=True, slots=True)
class ApplyCors:
    """Answer preflights of listed origins; remember a listed origin, so that the mount names it in whatever answer."""

    origins: frozenset[bytes]
    table: Callable[[], RouteRegistry]

    def __call__(self, record: Record) -> Answer | None:
        if record.allowed_origin is None or preflight_method(record) is None:
            return None
        methods = b", ".join(allowed_methods(self.table().rows_of(record.path)))
        headers = [
            (b"access-control-allow-methods", methods),
            (b"access-control-max-age", b"%d" % MAX_AGE_S),
        ]
        asked = record.first(b"access-control-request-headers")
        if asked is not None and len(asked) <= 1024 and asked.isascii() and asked.decode().isprintable():
            headers.append((b"access-control-allow-headers", asked))
        record.reason = "preflight"
        return Answer(204, headers, b"")


@dataclass(frozen=True, slots=True)
class NoteOrigin:
    """Set `allowed_origin` before anything can be refused, so that a page can read the refusal it caused."""

    origins: frozenset[bytes]

    def __call__(self, record: Record) -> Answer | None:
        if self.origins:
            origin = record.first(b"origin")
            if origin is not None and (origin in self.origins or b"*" in self.origins):
                record.allowed_origin = origin
        return None


def preflight_method(record: Record) -> bytes | None:
    """Tell which method a preflight asks for; None when this is no preflight."""
    if record.method != b"OPTIONS" or record.first(b"origin") is None:
        return None
    return record.first(b"access-control-request-method")


def cors_headers(record: Record) -> Headers:
    """Make the fields that every answer to a listed origin carries."""
    if record.allowed_origin is None:
        return []
    return [
        (b"access-control-allow-origin", record.allowed_origin),
        (b"access-control-allow-credentials", b"true"),
        (b"access-control-expose-headers", b"X-Request-Id, Location, Retry-After"),
        (b"vary", b"Origin"),
    ]
