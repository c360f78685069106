"""The port through which a use case opens a transaction.

Rule: a transaction is short and never spans an await on a model, a tool, an upstream or a client.
"""

from contextlib import AbstractAsyncContextManager
from typing import Protocol


class Tx(Protocol):
    """An open transaction: opaque to use cases, understood by the store that is handed it."""


class Begin(Protocol):
    def __call__(self) -> AbstractAsyncContextManager[Tx]:
        """Open a transaction: committed when the block ends, rolled back when it raises.

        Errors: StorageUnavailable when no connection is to be had within the pool's wait.
        """
        ...


class Look(Protocol):
    def __call__(self) -> AbstractAsyncContextManager[Tx]:
        """Open a stretch in which each statement is a transaction of its own, and one round trip: to read, or to write
        by a single statement.

        Errors: as `Begin`.
        """
        ...
