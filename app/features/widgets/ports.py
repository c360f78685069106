"""What the use cases of widgets ask of the outside."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol

from app.agents.contract import PastMessage
from app.features.widgets.domain import Session
from app.kernel.ids import RunId
from app.kernel.transaction import Tx


class WidgetSessions(Protocol):
    """Conversations of visitors, by the digest of their id. Errors: StorageUnavailable from every method."""

    async def open(self, tx: Tx, key: bytes, widget: str, *, life: timedelta, at_most: int) -> Session | None:
        """Begin one, and forget some that have expired; None where the widget has so many."""
        ...

    async def take(self, tx: Tx, key: bytes, widget: str, *, life: timedelta) -> Session | None:
        """Find one of this widget that has not expired, hold it for the transaction, and let it live on."""
        ...

    async def note_run(self, tx: Tx, key: bytes, run_id: RunId) -> None:
        """Say by which run it is busy."""
        ...

    async def history(self, tx: Tx, key: bytes) -> Sequence[PastMessage] | None:
        """Read what was said, the oldest first; None where it is gone."""
        ...

    async def settle(self, tx: Tx, key: bytes, run_id: RunId, said: Sequence[PastMessage] | None) -> None:
        """Let it go on behind this run, with what was said, if that is another than before."""
        ...
