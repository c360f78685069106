"""Memories and notes where runs are worked on: what tools ask for, over the stores."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.agents.house import Memory, MemoryFull, Note
from app.features.memory.domain import MEMORIES_LIMIT, NOTES_LIMIT, Kept
from app.features.memory.ports import MemoryStore, NoteStore
from app.kernel.ids import UserId
from app.kernel.transaction import Begin
from app.kernel.values import Json


@dataclass(frozen=True, slots=True)
class KeptMemories:
    """Implements `agents.house.Memories`."""

    begin: Begin
    store: MemoryStore

    async def remember(self, owner: UserId, text: str, tags: Sequence[str]) -> Memory:
        async with self.begin() as tx:
            kept = await self.store.remember(tx, owner, text, tags, at_most=MEMORIES_LIMIT)
        if kept is None:
            raise MemoryFull
        return _told(kept)

    async def recall(self, owner: UserId, query: str, *, limit: int) -> Sequence[Memory]:
        async with self.begin() as tx:
            found = await self.store.recall(tx, owner, query, limit=limit)
        return [_told(one) for one in found]

    async def forget(self, owner: UserId, memory_id: int) -> bool:
        async with self.begin() as tx:
            return await self.store.forget(tx, owner, memory_id)


@dataclass(frozen=True, slots=True)
class KeptNotes:
    """Implements `agents.house.Notes`."""

    begin: Begin
    store: NoteStore

    async def read(self, owner: UserId, thread: str, name: str) -> Note:
        async with self.begin() as tx:
            return await self.store.read(tx, owner, thread, name)

    async def write(self, owner: UserId, thread: str, name: str, document: Json, *, over: int | None) -> Note:
        async with self.begin() as tx:
            return await self.store.write(tx, owner, thread, name, document, over=over, at_most=NOTES_LIMIT)


def _told(kept: Kept) -> Memory:
    return Memory(kept.id, kept.text, kept.tags, kept.created_at)
