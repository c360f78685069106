"""Slack, by an incoming webhook: the owner's, or the operator's.

Source: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
"""

from dataclasses import dataclass, field

import msgspec

from app.features.notifications.clients.posting import Posting
from app.features.notifications.domain.backoff import Answer, Attempted
from app.features.notifications.domain.wording import for_slack
from app.features.notifications.ports import Message


@dataclass(frozen=True, slots=True)
class SlackWebhook:
    """Implements `Sender`. `url` is the operator's; it is a secret, as an owner's is."""

    posting: Posting
    url: str = field(default="", repr=False)

    async def send(self, message: Message) -> Attempted:
        body = msgspec.json.encode(for_slack(message.notification))
        if message.address:
            return await self.posting.to_owners(message.address, body, {})
        if not self.url:
            return Attempted(Answer.FAILED, "SLACK_WEBHOOK_URL is not set")
        return await self.posting.to_operators(self.url, body)
