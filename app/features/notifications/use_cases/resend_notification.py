"""Send again what was given up."""

from dataclasses import dataclass

from app.features.notifications.domain.news import NothingToResend, Notification, NotificationNotFound
from app.features.notifications.ports import Notifications, Outbox
from app.features.notifications.use_cases.access import find_own
from app.kernel.audit import AuditTrail, record_on_others
from app.kernel.identity import Principal
from app.kernel.ids import NotificationId
from app.kernel.transaction import Begin


@dataclass(frozen=True, slots=True)
class ResendNotification:
    """By its owner or an admin; what was delivered is not sent again, however often this is asked.

    Errors: NotificationNotFound, NothingToResend.
    """

    begin: Begin
    notifications: Notifications
    outbox: Outbox
    audit: AuditTrail

    async def __call__(self, who: Principal, notification_id: NotificationId) -> Notification:
        async with self.begin() as tx:
            found = await find_own(tx, self.notifications, who, notification_id)
            if not await self.outbox.resend(tx, notification_id):
                raise NothingToResend
            await record_on_others(self.audit, tx, who, "notification.resent", notification_id, owner=found.owner)
            again = await self.notifications.find(tx, notification_id)
        if again is None:
            raise NotificationNotFound
        return again
