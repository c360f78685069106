"""Stages: turn requests away while there are too many, and count those that are let in."""

from dataclasses import dataclass

from app.edge.faults import Overloaded
from app.edge.load import Load
from app.edge.record import Answer, Record

_ALWAYS_TAKEN = frozenset({b"/api/health/ping", b"/api/health/ready"})
"""whoever asks these decides whether this worker is to be ended, which helps nobody now"""


@dataclass(frozen=True, slots=True)
class ShedLoad:
    """Errors: Overloaded."""

    load: Load

    def __call__(self, record: Record) -> Answer | None:
        if self.load.is_overloaded and record.path not in _ALWAYS_TAKEN and self.load.sheds():
            raise Overloaded("There are more requests than can be served in time.", headers={"retry-after": "1"})
        return None


@dataclass(frozen=True, slots=True)
class EnterLoad:
    """Count a request as open, from here until it is finished."""

    load: Load

    def __call__(self, record: Record) -> Answer | None:
        self.load.enter()
        record.is_open = True
        return None
