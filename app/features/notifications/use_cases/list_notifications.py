"""List what was told."""

from dataclasses import dataclass, replace

from app.features.notifications.domain.news import Notification, NotificationFilter
from app.features.notifications.ports import Notifications
from app.kernel.errors import Forbidden
from app.kernel.identity import Principal
from app.kernel.paging import ListFields, ListQuery, Page
from app.kernel.transaction import Begin

NOTIFICATION_FIELDS = ListFields(
    searchable=frozenset({"title", "text", "agent"}),
    sortable=frozenset({"id", "kind", "created_at"}),
)


@dataclass(frozen=True, slots=True)
class ListNotifications:
    """List one's own; for staff everybody's, or one user's.

    Errors: Forbidden, when somebody else's are asked for.
    """

    begin: Begin
    notifications: Notifications

    async def __call__(self, who: Principal, query: ListQuery, *, only: NotificationFilter) -> Page[Notification]:
        if not who.is_staff:
            if only.owner not in (None, who.user_id):
                raise Forbidden("Only staff may see what somebody else was told.")
            only = replace(only, owner=who.user_id)
        async with self.begin() as tx:
            return await self.notifications.list(tx, query, only=only)
