"""What the slice asks of the outside: where memories and notes are kept. Errors: StorageUnavailable from all of it."""

from collections.abc import Sequence
from typing import Protocol

from app.agents.house import Note
from app.features.memory.domain import Kept
from app.kernel.ids import UserId
from app.kernel.paging import ListQuery, Page
from app.kernel.transaction import Tx
from app.kernel.values import Json


class MemoryStore(Protocol):
    """Nobody's are seen or changed but those of the owner that is named."""

    async def remember(self, tx: Tx, owner: UserId, text: str, tags: Sequence[str], *, at_most: int) -> Kept | None:
        """Keep a text once; the same again gets the tags that are new. None where there are so many already."""
        ...

    async def recall(self, tx: Tx, owner: UserId, query: str, *, limit: int) -> Sequence[Kept]:
        """Find those that share a word with the query, in whatever form of it, best first; with "" the newest."""
        ...

    async def list(self, tx: Tx, owner: UserId, query: ListQuery) -> Page[Kept]:
        """List them, the newest first unless the query orders otherwise."""
        ...

    async def forget(self, tx: Tx, owner: UserId, memory_id: int) -> bool:
        """Tell whether there was such a one."""
        ...

    async def forget_all(self, tx: Tx, owner: UserId) -> int:
        """Tell how many there were."""
        ...


class NoteStore(Protocol):
    async def read(self, tx: Tx, owner: UserId, thread: str, name: str) -> Note: ...

    async def write(
        self, tx: Tx, owner: UserId, thread: str, name: str, document: Json, *, over: int | None, at_most: int
    ) -> Note:
        """As `agents.house.Notes` says; of more than so many of an owner's the oldest go. Errors: NoteStale."""
        ...
