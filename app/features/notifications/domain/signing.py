"""The keys that webhooks are signed with: one for each owner and address, made of the operator's secret.

Rule: none of them is stored. Whoever is told one can neither tell the operator's nor anybody else's.
"""

import hmac
from dataclasses import dataclass, field

from app.infra.wire.standard_webhooks import secret_text, signature_of
from app.kernel.ids import UserId


@dataclass(frozen=True, slots=True)
class SigningKey:
    """`secret` is the operator's NOTIFICATION_SECRET."""

    secret: str = field(repr=False)

    def secret_of(self, owner: UserId, url: str) -> str:
        """Write it as the receiver is to be given it."""
        return secret_text(self._of(owner, url))

    def sign(self, owner: UserId, url: str, *, message_id: str, timestamp_s: int, body: bytes) -> str:
        return signature_of(self._of(owner, url), message_id, timestamp_s, body)

    def _of(self, owner: UserId, url: str) -> bytes:
        return hmac.digest(self.secret.encode(), f"portico notifications\0{owner}\0{url}".encode(), "sha256")
