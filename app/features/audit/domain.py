"""An act as it was written down."""

from dataclasses import dataclass
from datetime import datetime

from app.kernel.audit import Act


@dataclass(frozen=True, slots=True)
class Entry:
    """`id` counts up with the order of writing; gaps are normal."""

    id: int
    at: datetime
    act: Act


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """None lets everything through."""

    who: str | None = None
    owner: str | None = None
    action: str | None = None
    object_id: str | None = None
    request_id: str | None = None
