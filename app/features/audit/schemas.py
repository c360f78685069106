"""What clients get about the audit; interface contracts, field by field."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Self

from msgspec import Struct

from app.features.audit.domain import AuditFilter, Entry
from app.kernel.errors import FieldError, ValidationFailed
from app.kernel.paging import Page

TEXT_LIMIT_CHARS = 255
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


class EntryOut(Struct, frozen=True, kw_only=True):
    """`who` is "" where the program acted by itself; `owner` is null where the object is nobody's.

    `agents` are those that acted in the name of `who`, the one whose run it was first.
    """

    id: int
    at: datetime
    who: str
    owner: str | None
    action: str
    object_id: str
    agents: Sequence[str]
    request_id: str
    details: Mapping[str, object]

    @classmethod
    def of(cls, entry: Entry) -> Self:
        act = entry.act
        return cls(
            id=entry.id,
            at=entry.at,
            who=act.who,
            owner=act.owner,
            action=act.action,
            object_id=act.object_id,
            agents=act.agents,
            request_id=act.request_id,
            details=act.details,
        )


class AuditPageOut(Struct, frozen=True):
    items: Sequence[EntryOut]
    total: int
    limit: int
    offset: int

    @classmethod
    def of(cls, page: Page[Entry]) -> Self:
        return cls([EntryOut.of(entry) for entry in page.items], page.total, page.limit, page.offset)


def filter_of(**texts: str | None) -> AuditFilter:
    """Errors: ValidationFailed, for a text that nothing stored could be equal to."""
    problems = [
        FieldError(name, f"must have at most {TEXT_LIMIT_CHARS} characters, and none that cannot be stored")
        for name, text in texts.items()
        if text is not None and (len(text) > TEXT_LIMIT_CHARS or _UNSTORABLE.search(text))
    ]
    if problems:
        raise ValidationFailed("Some filters are not valid.", errors=problems)
    return AuditFilter(**texts)
