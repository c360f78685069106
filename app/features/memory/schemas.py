"""What clients get of memories; interface contracts, field by field."""

from collections.abc import Sequence
from datetime import datetime
from typing import Self

from msgspec import Struct

from app.features.memory.domain import Kept
from app.kernel.paging import Page


class MemoryOut(Struct, frozen=True, kw_only=True):
    id: int
    text: str
    tags: Sequence[str]
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, kept: Kept) -> Self:
        return cls(id=kept.id, text=kept.text, tags=kept.tags, created_at=kept.created_at, updated_at=kept.updated_at)


class MemoryPageOut(Struct, frozen=True):
    items: Sequence[MemoryOut]
    total: int
    limit: int
    offset: int

    @classmethod
    def of(cls, page: Page[Kept]) -> Self:
        return cls([MemoryOut.of(kept) for kept in page.items], page.total, page.limit, page.offset)


class ForgottenOut(Struct, frozen=True):
    """How many there were."""

    forgotten: int
