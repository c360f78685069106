"""The ports of revocation in memory: a store over one list, with a clock that moves when told to."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from app.kernel.paging import ListQuery, Page
from app.kernel.revocation import Mark, NewRevocation, Revocation
from app.kernel.transaction import Tx


@dataclass
class FakeRevocationStore:
    rows: dict[int, Revocation] = field(default_factory=dict)
    number: int = 0

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Tx]:
        yield object()

    async def add(self, tx: Tx, draft: NewRevocation, *, limit: int) -> Revocation | None:
        del tx
        now = self.now()
        self.rows = {id_: row for id_, row in self.rows.items() if row.expires_at > now}
        kept = next((row for row in self.rows.values() if (row.mark, row.name) == (draft.mark, draft.name)), None)
        if kept is None and len(self.rows) >= limit:
            return None
        self.number += 1
        before, expires_at, created_at = draft.before, draft.expires_at, now
        if kept is not None and not kept.is_lifted:
            before, expires_at = max(kept.before, before), max(kept.expires_at, expires_at)
            created_at = kept.created_at
        made = Revocation(
            id=kept.id if kept else self.number,
            number=self.number,
            mark=draft.mark,
            name=draft.name,
            before=before,
            expires_at=expires_at,
            created_by=draft.created_by,
            created_at=created_at,
            updated_at=now,
        )
        self.rows[made.id] = made
        return made

    async def lift(self, tx: Tx, revocation_id: int) -> Revocation | None:
        del tx
        found = self.rows.get(revocation_id)
        if found is None or found.is_lifted or found.expires_at <= self.now():
            return None
        self.number += 1
        self.rows[revocation_id] = replace(found, number=self.number, is_lifted=True, updated_at=self.now())
        return self.rows[revocation_id]

    async def list(self, tx: Tx, query: ListQuery, *, names: Mapping[Mark, str]) -> Page[Revocation]:
        del tx
        wanted = [
            row
            for row in sorted(self.rows.values(), key=lambda row: -row.id)
            if not row.is_lifted
            and row.expires_at > self.now()
            and all((row.mark, row.name) == (mark, name) for mark, name in names.items())
        ]
        page = wanted[query.offset : query.offset + query.limit]
        return Page(page, len(wanted), query.limit, query.offset)

    def now(self) -> datetime:
        return datetime.now(UTC)
