"""Stages: turn requests away while there are too many, and count those that are let in.

Turning away has to cost less than serving, or there would be no point in it: the answer is written ahead.
"""

from dataclasses import dataclass

import msgspec

from app.edge.faults import Overloaded
from app.edge.load import Load
from app.edge.record import Answer, Record
from app.infra.wire.problems import problem_of

ALWAYS_TAKEN = frozenset({b"/api/health/ping", b"/api/health/ready"})
"""whoever asks these decides whether this worker is to be ended, which helps nobody now"""

_FAULT = Overloaded("There are more requests than can be served in time.", headers={"retry-after": "1"})
_PROBLEM = problem_of(_FAULT, instance="\0", request_id="\1")
_FIELDS = [(name.encode(), value.encode()) for name, value in _PROBLEM.headers.items()]
_BEFORE, _BETWEEN, _AFTER = _PROBLEM.body.replace(b'"\\u0001"', b'"\\u0000"').split(b'"\\u0000"')


@dataclass(frozen=True, slots=True)
class TurnAway:
    """Answer with the problem `overloaded`."""

    load: Load

    def __call__(self, record: Record) -> Answer:
        self.load.shed_total += 1
        record.reason = _FAULT.reason
        instance = msgspec.json.encode(record.path.decode("latin-1"))
        body = b"".join((_BEFORE, instance, _BETWEEN, msgspec.json.encode(record.id), _AFTER))
        return Answer(_PROBLEM.status, _FIELDS, body)


@dataclass(frozen=True, slots=True)
class ShedLoad:
    """Turn away where this worker is full, or a round of it takes too long already.

    The protocol mount lets requests wait before they are read, so that its rounds are short.
    """

    load: Load

    def __call__(self, record: Record) -> Answer | None:
        load = self.load
        if load.is_busy and (load.is_full or load.is_late()) and record.path not in ALWAYS_TAKEN:
            return TurnAway(load)(record)
        return None


@dataclass(frozen=True, slots=True)
class EnterLoad:
    """Count a request as open, from here until it is finished."""

    load: Load

    def __call__(self, record: Record) -> Answer | None:
        self.load.enter()
        record.is_open = True
        return None
