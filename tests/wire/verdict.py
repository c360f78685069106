"""What a verdict on a request says, and how a case of one is written.

Left out of what an upstream was sent is what every request carries (`STANDING`), whose presence is checked.
"""

import re
from dataclasses import dataclass

from tests.wire.counting import Counted

STANDING = (
    re.compile(rb"host: 127\.0\.0\.1:[0-9]+"),
    re.compile(rb"x-request-id: [0-9a-f]{32}"),
    re.compile(rb"x-forwarded-for: 127\.0\.0\.1"),
    re.compile(rb"x-forwarded-proto: http"),
    re.compile(rb"x-forwarded-host: front"),
    re.compile(rb"via: (?:.*, )?1\.[01] portico"),
    re.compile(rb"traceparent: 00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]"),
)


@dataclass(frozen=True, slots=True)
class Sent:
    """What an upstream was sent, but for what every request carries."""

    line: bytes
    fields: tuple[bytes, ...] = ()
    body: bytes = b""

    @classmethod
    def of(cls, counted: Counted) -> "Sent":
        left = counted.fields
        for standing in STANDING:
            (found,) = [line for line in left if standing.fullmatch(line)]
            left.remove(found)
        return cls(counted.line, tuple(left), counted.body)


@dataclass(frozen=True, slots=True)
class Verdict:
    """`kind` is the problem's type, "" where there is none; `stays` tells whether the connection takes another."""

    status: int
    kind: str = ""
    stays: bool = True
    sent: Sent | None = None


@dataclass(frozen=True, slots=True)
class Case:
    request: bytes
    verdict: Verdict


def let_in(request: bytes, line: bytes, *fields: bytes, body: bytes = b"") -> Case:
    return Case(request, Verdict(200, sent=Sent(line + b" HTTP/1.1", fields, body)))


def refused(request: bytes, status: int, kind: str, *, stays: bool = True) -> Case:
    return Case(request, Verdict(status, kind, stays=stays))


def bearer(token: str) -> bytes:
    return b"Authorization: Bearer " + token.encode()


def in_cookie(token: str) -> bytes:
    return b"Cookie: pg_access_token=" + token.encode()
