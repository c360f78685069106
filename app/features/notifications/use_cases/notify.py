"""Write down what somebody is to be told, with the transaction in which it happens."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from urllib.parse import urlsplit

from app.features.notifications.domain.config import NotificationConfig, read_config
from app.features.notifications.domain.news import Channel, Kind, News, Target
from app.features.notifications.domain.wording import text_of, title_of
from app.features.notifications.ports import NewDelivery, Outbox
from app.kernel.ids import NotificationId
from app.kernel.transaction import Tx
from app.kernel.values import Json


@dataclass(frozen=True, slots=True)
class Notify:
    """For whoever knows that something happened: in its own transaction, behind whatever else is written there.

    `given` is the owner's configuration, as it was stored. Without one, it is told in-app alone. Gives None where the
    same was noted before: it is told once.
    """

    outbox: Outbox

    async def __call__(self, tx: Tx, news: News, given: Mapping[str, Json] | None) -> NotificationId | None:
        config = read_config(given)
        told = replace(news, title=title_of(news.title), text=text_of(news.text))
        dedupe = timedelta(seconds=0 if news.kind is Kind.TEST else config.dedupe_s)
        return await self.outbox.add(tx, told, deliveries_of(told, config), dedupe=dedupe)


def deliveries_of(news: News, config: NotificationConfig) -> Sequence[NewDelivery]:
    """Decide where news go, and behind what they wait."""
    if not config.wants(news.kind):
        return ()
    # what is urgent in quiet hours passes what waits for their end
    pace = "at once" if config.quiet is not None and config.quiet_for(news.kind) is None else "in turn"
    return [
        NewDelivery(
            target,
            lane_of(news.order or news.key, target, pace),
            destination_of(target),
            config.quiet_for(news.kind),
        )
        for target in config.targets()
    ]


def lane_of(order: str, target: Target, pace: str) -> str:
    named = f"{order}\0{target.channel}\0{target.address}\0{pace}"
    return hashlib.sha256(named.encode()).hexdigest()


def destination_of(target: Target) -> str:
    """Name whose server takes it, so that one that is slow holds up nobody but itself."""
    if target.channel in {Channel.WEBHOOK, Channel.SLACK} and target.address:
        return (urlsplit(target.address).hostname or "")[:255]
    return target.channel.value
