"""Mark what was told as read."""

from dataclasses import dataclass

from app.features.notifications.domain.news import Notification, NotificationNotFound
from app.features.notifications.ports import Notifications
from app.features.notifications.use_cases.access import find_own
from app.kernel.identity import Principal
from app.kernel.ids import NotificationId
from app.kernel.transaction import Begin


@dataclass(frozen=True, slots=True)
class ReadNotification:
    """By its owner or an admin; one that was read stays as it is. Errors: NotificationNotFound."""

    begin: Begin
    notifications: Notifications

    async def __call__(self, who: Principal, notification_id: NotificationId) -> Notification:
        async with self.begin() as tx:
            await find_own(tx, self.notifications, who, notification_id)
            await self.notifications.mark_read(tx, notification_id)
            found = await self.notifications.find(tx, notification_id)
        if found is None:
            raise NotificationNotFound
        return found


@dataclass(frozen=True, slots=True)
class ReadAll:
    """Mark all one's own, and tell how many had not been read."""

    begin: Begin
    notifications: Notifications

    async def __call__(self, who: Principal) -> int:
        async with self.begin() as tx:
            return await self.notifications.mark_all_read(tx, who.user_id)
