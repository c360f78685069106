"""Telegram, by its Bot API: `sendMessage`.

Facts (https://core.telegram.org/bots/api)
- The token stands in the path, so no URL of it is ever logged or told.
- A failure has its HTTP status (400 chat not found, 403 blocked by the user, 429 too many), and 200 is a message sent.
"""

from dataclasses import dataclass, field

import msgspec

from app.features.notifications.clients.posting import Posting
from app.features.notifications.domain.backoff import Answer, Attempted
from app.features.notifications.domain.wording import for_telegram
from app.features.notifications.ports import Message


@dataclass(frozen=True, slots=True)
class TelegramBot:
    """Implements `Sender`. `base_url` is where the API is, without a slash at its end."""

    posting: Posting
    base_url: str
    token: str = field(repr=False)

    async def send(self, message: Message) -> Attempted:
        if not self.token:
            return Attempted(Answer.FAILED, "TELEGRAM_BOT_TOKEN is not set")
        body = msgspec.json.encode(for_telegram(message.notification, message.address))
        return await self.posting.to_operators(f"{self.base_url}/bot{self.token}/sendMessage", body)
