"""Stage: a name for the request, in every log line, every answer and every call it causes."""

import itertools
import re
import secrets
from dataclasses import dataclass, field

from app.edge.record import Answer, Record

_SAFE = re.compile(rb"[A-Za-z0-9_.:\-]{8,128}")


@dataclass(frozen=True, slots=True)
class AssignRequestId:
    """Keep the id a trusted proxy gave; a stranger's could be made to collide with another person's.

    Shapes: 32 hex digits, so that it is a trace id too: 16 random ones of this process, then 16 that count.
    """

    _process: str = field(default_factory=lambda: secrets.token_hex(8))
    # from where every number has 16 hex digits, since padding them costs as much as writing them
    _count: "itertools.count[int]" = field(default_factory=lambda: itertools.count(16**15))

    def __call__(self, record: Record) -> Answer | None:
        if record.is_peer_trusted:
            given = record.first(b"x-request-id")
            if given is not None and _SAFE.fullmatch(given):
                record.id = given.decode()
                record.has_given_id = True
                return None
        record.id = f"{self._process}{next(self._count):x}"
        return None
