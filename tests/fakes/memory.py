"""Memories and notes in memory, held by the contract tests of the real ones."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count

from app.agents.house import Note, NoteStale
from app.features.memory.domain import Kept
from app.kernel.ids import UserId
from app.kernel.paging import ListQuery, Page
from app.kernel.transaction import Tx
from app.kernel.values import Json


@dataclass
class FakeMemoryStore:
    """Stems as English does it for plurals alone."""

    kept: list[Kept] = field(default_factory=list)
    _ids: Iterator[int] = field(default_factory=lambda: count(1))

    async def remember(self, tx: Tx, owner: UserId, text: str, tags: Sequence[str], *, at_most: int) -> Kept | None:
        mine = [one for one in self.kept if one.owner == owner]
        for known in mine:
            if known.text == text:
                again = replace(known, tags=tuple(dict.fromkeys((*known.tags, *tags))))
                self.kept[self.kept.index(known)] = again
                return again
        if len(mine) >= at_most:
            return None
        now = datetime.now(UTC)
        made = Kept(next(self._ids), owner, text, tuple(tags), now, now)
        self.kept.append(made)
        return made

    async def recall(self, tx: Tx, owner: UserId, query: str, *, limit: int) -> Sequence[Kept]:
        mine = [one for one in reversed(self.kept) if one.owner == owner]
        wanted = _words(query)
        if not query.strip():
            return mine[:limit]
        shared = {one.id: len(wanted & _words(" ".join((one.text, *one.tags)))) for one in mine}
        found = sorted((one for one in mine if shared[one.id]), key=lambda one: -shared[one.id])
        return found[:limit]

    async def list(self, tx: Tx, owner: UserId, query: ListQuery) -> Page[Kept]:
        mine = [one for one in self.kept if one.owner == owner]
        if query.search is not None:
            mine = [one for one in mine if query.search.text.lower() in one.text.lower()]
        mine.sort(key=lambda one: one.id, reverse=query.sort_order == "desc")
        return Page(mine[query.offset : query.offset + query.limit], len(mine), query.limit, query.offset)

    async def forget(self, tx: Tx, owner: UserId, memory_id: int) -> bool:
        before = len(self.kept)
        self.kept = [one for one in self.kept if (one.owner, one.id) != (owner, memory_id)]
        return len(self.kept) < before

    async def forget_all(self, tx: Tx, owner: UserId) -> int:
        before = len(self.kept)
        self.kept = [one for one in self.kept if one.owner != owner]
        return before - len(self.kept)


@dataclass
class FakeNoteStore:
    notes: dict[tuple[UserId, str, str], Note] = field(default_factory=dict)

    async def read(self, tx: Tx, owner: UserId, thread: str, name: str) -> Note:
        return self.notes.get((owner, thread, name), Note())

    async def write(
        self, tx: Tx, owner: UserId, thread: str, name: str, document: Json, *, over: int | None, at_most: int
    ) -> Note:
        now = self.notes.pop((owner, thread, name), Note())
        if over is not None and now.revision != over:
            if now.revision:
                self.notes[owner, thread, name] = now
            if now.revision == over + 1 and now.document == document:
                return now
            raise NoteStale(now)
        new = self.notes[owner, thread, name] = Note(now.revision + 1, document)
        mine = [key for key in self.notes if key[0] == owner]
        for key in mine[: max(0, len(mine) - at_most)]:
            del self.notes[key]
        return new


def _words(text: str) -> set[str]:
    return {word.lower().removesuffix("s") for word in re.findall(r"\w+", text)}
