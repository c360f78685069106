"""The audit in memory, held by the contract tests of the real one."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from app.features.audit.domain import AuditFilter, Entry
from app.kernel.audit import Act
from app.kernel.paging import ListQuery, Page
from app.kernel.transaction import Tx


@dataclass
class FakeAuditStore:
    entries: list[Entry] = field(default_factory=list)

    @property
    def acts(self) -> list[Act]:
        return [entry.act for entry in self.entries]

    async def record(self, tx: Tx, act: Act) -> None:
        del tx
        self.entries.append(Entry(len(self.entries) + 1, datetime.now(UTC), act))

    async def list(self, tx: Tx, query: ListQuery, *, only: AuditFilter) -> Page[Entry]:
        del tx
        found = [entry for entry in self.entries if _is_wanted(entry.act, only) and _matches(entry, query)]
        found.sort(key=lambda entry: _key(entry, query), reverse=query.sort_order == "desc")
        return Page(found[query.offset : query.offset + query.limit], len(found), query.limit, query.offset)

    async def count_old(self, tx: Tx, *, age: timedelta) -> int:
        del tx
        return sum(entry.at < datetime.now(UTC) - age for entry in self.entries)

    async def forget(self, tx: Tx, *, age: timedelta) -> int:
        found = await self.count_old(tx, age=age)
        self.entries = [entry for entry in self.entries if entry.at >= datetime.now(UTC) - age]
        return found


def _is_wanted(act: Act, only: AuditFilter) -> bool:
    names = ("who", "owner", "action", "object_id", "request_id")
    return all(getattr(only, name) in (None, getattr(act, name)) for name in names)


def _matches(entry: Entry, query: ListQuery) -> bool:
    befores = (query.created_before, query.updated_before)
    afters = (query.created_after, query.updated_after)
    if any(one is not None and entry.at >= one for one in befores):
        return False
    if any(one is not None and entry.at <= one for one in afters):
        return False
    if query.ids is not None and entry.id not in query.ids:
        return False
    if query.search is None:
        return True
    text, wanted = str(getattr(entry.act, query.search.field) or ""), query.search.text
    return wanted.lower() in text.lower() if query.search.ignore_case else wanted in text


def _key(entry: Entry, query: ListQuery) -> tuple[str, int]:
    name = query.order_by
    return ("" if name in (None, "id", "at") else str(getattr(entry.act, str(name)) or ""), entry.id)
