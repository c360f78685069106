"""What the use cases of keys ask of the outside."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from app.features.keys.domain import Key, NewKey
from app.kernel.ids import KeyId, UserId
from app.kernel.paging import ListQuery, Page
from app.kernel.transaction import Tx


class KeyStore(Protocol):
    """Errors: StorageUnavailable from every method."""

    async def add(self, tx: Tx, draft: NewKey, *, at_most: int) -> Key | None:
        """Keep a key; None where its owner has so many. Concurrency: of one owner one is added at a time."""
        ...

    async def find(self, tx: Tx, key_id: KeyId) -> Key | None: ...

    async def list(
        self, tx: Tx, query: ListQuery, *, owner: UserId | None, ids: Sequence[UUID] | None = None
    ) -> Page[Key]:
        """List keys, of all owners where none is named; the newest first unless the query orders otherwise."""
        ...

    async def remove(self, tx: Tx, key_id: KeyId) -> bool:
        """Remove a key; False when it is gone already."""
        ...

    async def remove_of(self, tx: Tx, owner: UserId, *, before: datetime) -> int:
        """Remove the keys that somebody had before a moment; tells how many."""
        ...


class Withdrawal(Protocol):
    """How everybody hears that a key is gone, and that what was begun with it is to end."""

    async def withdraw(self, tx: Tx, mark: str, *, by: UserId) -> Callable[[], None]:
        """Have every process refuse it within a second of the commit; what is given back is called behind that, and
        refuses it here at once.
        """
        ...
