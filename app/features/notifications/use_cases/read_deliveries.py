"""Tell how what was written of a run is on its way: for whoever waits for it."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.features.notifications.domain.news import Delivery, NotificationFilter
from app.features.notifications.ports import Notifications
from app.kernel.ids import RunId
from app.kernel.paging import ListQuery
from app.kernel.transaction import Begin


@dataclass(frozen=True, slots=True)
class ReadDeliveries:
    """Of the newest hundred notifications of the run."""

    begin: Begin
    notifications: Notifications

    async def __call__(self, run_id: RunId) -> Sequence[Delivery]:
        async with self.begin() as tx:
            found = await self.notifications.list(tx, ListQuery(limit=100), only=NotificationFilter(run_id=run_id))
        return [delivery for one in found.items for delivery in one.deliveries]
