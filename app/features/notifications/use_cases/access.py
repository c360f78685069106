"""Whose a notification is, asked before anything is done with it."""

from app.features.notifications.domain.news import Notification, NotificationNotFound, may_touch
from app.features.notifications.ports import Notifications
from app.kernel.identity import Principal
from app.kernel.ids import NotificationId
from app.kernel.transaction import Tx


async def find_own(
    tx: Tx, notifications: Notifications, who: Principal, notification_id: NotificationId
) -> Notification:
    """Errors: NotificationNotFound, also for somebody else's."""
    found = await notifications.find(tx, notification_id)
    if found is None or not may_touch(who, found.owner):
        raise NotificationNotFound
    return found
