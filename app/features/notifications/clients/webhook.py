"""A signed webhook, as Standard Webhooks describes it: any receiver that has a library for it can check it."""

from dataclasses import dataclass

import msgspec

from app.features.notifications.clients.posting import Posting
from app.features.notifications.domain.backoff import Answer, Attempted
from app.features.notifications.domain.signing import SigningKey
from app.features.notifications.domain.wording import for_webhook
from app.features.notifications.ports import Message
from app.infra.wire.standard_webhooks import ID, SIGNATURE, TIMESTAMP


@dataclass(frozen=True, slots=True)
class SignedWebhook:
    """Implements `Sender`."""

    posting: Posting
    key: SigningKey

    async def send(self, message: Message) -> Attempted:
        if not self.key.secret:
            return Attempted(Answer.FAILED, "NOTIFICATION_SECRET is not set")
        body = msgspec.json.encode(for_webhook(message.notification))
        now_s = int(self.posting.clock.time_s())
        owner, url = message.notification.owner, message.address
        signature = self.key.sign(owner, url, message_id=message.name, timestamp_s=now_s, body=body)
        headers = {ID: message.name, TIMESTAMP: str(now_s), SIGNATURE: signature}
        return await self.posting.to_owners(url, body, headers)
