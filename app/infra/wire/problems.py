"""What an error becomes: one table from kind to status, one function from fault to problem document.

Facts
- `application/problem+json` with type, title, status, detail, instance (RFC 9457 §3.1); extension members are allowed
  (§3.2): ours are `request_id`, `errors`, and what a fault adds of its own.
- 401 must carry `WWW-Authenticate` (RFC 9110 §15.5.2), 405 must carry `Allow` (§15.5.6).
- `type` is a stable word instead of a URI: RFC 9457 §3.1.1 allows a relative reference, and clients compare it as text.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from app.kernel.errors import Fault, Kind

STATUS: Mapping[Kind, int] = {
    Kind.MALFORMED: 400,
    Kind.UNAUTHENTICATED: 401,
    Kind.FORBIDDEN: 403,
    Kind.NOT_FOUND: 404,
    Kind.METHOD_NOT_ALLOWED: 405,
    Kind.CONFLICT: 409,
    Kind.TOO_LARGE: 413,
    Kind.RATE_LIMITED: 429,
    Kind.BROKEN: 502,
    Kind.UNAVAILABLE: 503,
    Kind.TIMED_OUT: 504,
    Kind.INTERNAL: 500,
}

# A few facts have a status of their own within their kind (RFC 9110 §15.5.15, RFC 6585 §5, RFC 9110 §15.5.9, §15.5.16).
STATUS_BY_TYPE: Mapping[str, int] = {
    "target-too-long": 414,
    "head-too-large": 431,
    "request-too-slow": 408,
    "head-too-slow": 408,
    "attachment-type-refused": 415,
}

CONTENT_TYPE = "application/problem+json"


class FieldProblem(msgspec.Struct, frozen=True):
    field: str
    message: str


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    type: str
    title: str
    status: int
    detail: str
    instance: str
    request_id: str
    errors: tuple[FieldProblem, ...] = ()


@dataclass(frozen=True, slots=True)
class ProblemAnswer:
    """A problem ready to be sent: `headers` hold everything but the length and the request id."""

    status: int
    headers: dict[str, str]
    body: bytes


def status_of(fault: Fault | type[Fault]) -> int:
    return STATUS_BY_TYPE.get(fault.type) or STATUS[fault.kind]


def problem_of(fault: Fault, *, instance: str, request_id: str) -> ProblemAnswer:
    """Turn a fault into the answer a client gets.

    Shapes: instance is the request's path without query.
    Source: RFC 9457.
    """
    status = status_of(fault)
    document = Problem(
        type=fault.type,
        title=fault.title,
        status=status,
        detail=fault.detail or fault.title,
        instance=instance,
        request_id=request_id,
        errors=tuple(FieldProblem(error.field, error.message) for error in fault.errors),
    )
    headers = {"content-type": CONTENT_TYPE, **fault.headers}
    if fault.kind is Kind.UNAUTHENTICATED:
        headers.setdefault("www-authenticate", "Bearer")
    body = document if not fault.members else {**fault.members, **msgspec.to_builtins(document)}
    return ProblemAnswer(status, headers, msgspec.json.encode(body))
