"""Errors as facts: each says what happened, of which kind, in words meant for the caller.

What lives here: the base, the kinds, one class per kind. Facts of a slice (ChatNotFound, TokenExpired) subclass
exactly one kind in their own slice. What does not: HTTP. `infra/wire/problems.py` turns a kind into a status.
Rule: `detail` is read by clients. No SQL, no upstream body, no path on disk; what the log needs goes into `evidence`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar


class Kind(StrEnum):
    MALFORMED = "malformed"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    CONFLICT = "conflict"
    TOO_LARGE = "too_large"
    RATE_LIMITED = "rate_limited"
    BROKEN = "broken"
    UNAVAILABLE = "unavailable"
    TIMED_OUT = "timed_out"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with one input; `field` is a dotted path, `""` for the body as a whole."""

    field: str
    message: str


class Fault(Exception):
    """Base of every error that may reach a client.

    `type` is a stable code clients branch on (kebab-case); `reason` is the same word for logs and metrics.
    `headers` go out with the answer (`Retry-After`, `Allow`, `WWW-Authenticate`); `members` stand in the answer's body
    beside what every problem says; `evidence` goes to the log only.
    """

    kind: ClassVar[Kind] = Kind.INTERNAL
    type: ClassVar[str] = "internal"
    title: ClassVar[str] = "Something went wrong on our side"

    def __init__(
        self,
        detail: str = "",
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, str] | None = None,
        evidence: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.members = dict(members or {})
        self.evidence = dict(evidence or {})

    @property
    def reason(self) -> str:
        return self.type.replace("-", "_")


class Malformed(Fault):
    kind = Kind.MALFORMED
    type = "malformed"
    title = "The request cannot be understood"


class Unauthenticated(Fault):
    kind = Kind.UNAUTHENTICATED
    type = "unauthenticated"
    title = "Who you are could not be established"


class Forbidden(Fault):
    kind = Kind.FORBIDDEN
    type = "forbidden"
    title = "You may not do this"


class NotFound(Fault):
    kind = Kind.NOT_FOUND
    type = "not-found"
    title = "There is nothing here"


class MethodNotAllowed(Fault):
    kind = Kind.METHOD_NOT_ALLOWED
    type = "method-not-allowed"
    title = "This method is not allowed here"


class Conflict(Fault):
    kind = Kind.CONFLICT
    type = "conflict"
    title = "The request contradicts the present state"


class TooLarge(Fault):
    kind = Kind.TOO_LARGE
    type = "body-too-large"
    title = "The body is larger than this door takes"


class RateLimited(Fault):
    kind = Kind.RATE_LIMITED
    type = "rate-limited"
    title = "Too many requests"


class Broken(Fault):
    kind = Kind.BROKEN
    type = "broken"
    title = "Something we depend on answered wrongly"


class Unavailable(Fault):
    kind = Kind.UNAVAILABLE
    type = "unavailable"
    title = "Something we depend on is not there"


class TimedOut(Fault):
    kind = Kind.TIMED_OUT
    type = "timed-out"
    title = "Something we depend on took too long"


class ValidationFailed(Malformed):
    """Input was read but breaks a rule; `errors` names each field."""

    type = "validation-failed"
    title = "Some fields are not valid"


def refuse_invalid(problems: Sequence[FieldError]) -> None:
    """Errors: ValidationFailed, when there are any."""
    if problems:
        raise ValidationFailed("Some fields are not valid.", errors=problems)
