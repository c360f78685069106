"""Send a test message by a configuration that somebody is about to use."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID, uuid4

from app.features.notifications.domain.config import Reach, config_problems, read_config
from app.features.notifications.domain.news import Channel, Kind, News, Notification, NotificationNotFound
from app.features.notifications.domain.signing import SigningKey
from app.features.notifications.ports import Notifications
from app.features.notifications.use_cases.notify import Notify
from app.kernel.errors import ValidationFailed
from app.kernel.identity import Principal
from app.kernel.ids import NotificationId
from app.kernel.keyed_requests import KeyedRequest, Receipts
from app.kernel.transaction import Begin
from app.kernel.values import Json

TITLE = "This is a test"
TEXT = "Somebody asked for it, to see that it arrives."


@dataclass(frozen=True, slots=True)
class Tested:
    """`webhook_secret` is what the receiver at the caller's `webhook_url` checks signatures with."""

    notification: Notification
    webhook_secret: str | None


@dataclass(frozen=True, slots=True)
class SendTest:
    """Write a test to the caller, to be sent by every channel of the configuration at once, in no quiet hours.

    A keyed request sends one, however often it is sent. Errors: ValidationFailed.
    """

    begin: Begin
    notify: Notify
    notifications: Notifications
    reach: Reach
    key: SigningKey
    receipts: Receipts

    async def __call__(self, who: Principal, given: Mapping[str, Json], *, keyed: KeyedRequest | None = None) -> Tested:
        if problems := config_problems(given, self.reach, at="notification_config"):
            raise ValidationFailed("Some fields are not valid.", errors=problems)
        async with self.begin() as tx:
            made = None if keyed is None else await self.receipts.find(tx, keyed)
            made_id = None if made is None else NotificationId(UUID(made))
            if made_id is None:
                news = News(f"test:{uuid4()}", who.user_id, Kind.TEST, TITLE, TEXT)
                made_id = await self.notify(tx, news, given)
                if keyed is not None and made_id is not None:
                    await self.receipts.note(tx, keyed, str(made_id))
            found = None if made_id is None else await self.notifications.find(tx, made_id)
        if found is None:
            raise NotificationNotFound
        config = read_config(given)
        is_signed = Channel.WEBHOOK in config.channels
        return Tested(found, self.key.secret_of(who.user_id, config.webhook_url) if is_signed else None)
