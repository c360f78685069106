"""What the use cases of the audit ask of the outside."""

from datetime import timedelta
from typing import Protocol

from app.features.audit.domain import AuditFilter, Entry
from app.kernel.audit import AuditTrail
from app.kernel.paging import ListQuery, Page
from app.kernel.transaction import Tx


class AuditStore(AuditTrail, Protocol):
    """What was written down. Nothing of it is changed, and nothing removed but what is old, by hand."""

    async def list(self, tx: Tx, query: ListQuery, *, only: AuditFilter) -> Page[Entry]:
        """List what was written, the newest first unless the query orders otherwise."""
        ...

    async def count_old(self, tx: Tx, *, age: timedelta) -> int:
        """Tell how much was written so long ago."""
        ...

    async def forget(self, tx: Tx, *, age: timedelta) -> int:
        """Remove some of what was written so long ago; 0 when nothing is left. What is younger than a month stays."""
        ...
