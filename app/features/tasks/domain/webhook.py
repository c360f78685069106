"""A webhook's deliveries and secrets: what is kept of either, and what may be wrong with one. Pure."""

import re
import secrets
from dataclasses import dataclass
from datetime import datetime

from app.features.tasks.domain.signatures import key_of
from app.infra.wire.standard_webhooks import secret_text
from app.kernel.errors import Conflict, FieldError, RateLimited
from app.kernel.ids import RunId, TaskId

SECRET_BYTES = 32
LEAST_KEY_BYTES = 16
MAX_SECRET_CHARS = 255
OVERLAP_S = 24 * 3600
MAX_OVERLAP_S = 7 * 24 * 3600
MAX_LIVE_SECRETS = 3
RETENTION_DAYS = 30
"""of deliveries; the run that one began stays as long as runs do, and is not begun again however old it is"""
RATE_PERIOD_S = 60
_SECRET = re.compile(rf"[\x21-\x7e]{{1,{MAX_SECRET_CHARS}}}")


@dataclass(frozen=True, slots=True)
class Delivered:
    """What is kept of a delivery. `key` is the sender's name of it, else its proof, else a name of ours.

    `proof` is what only who knows the secret can make, None where the scheme has no such thing; `digest` is the body's.
    Of `run_id` and `skipped` the one that is told says what became of it.
    """

    task_id: TaskId
    key: str
    proof: bytes | None
    digest: bytes
    run_id: RunId | None = None
    skipped: str | None = None


@dataclass(frozen=True, slots=True)
class KeptSecret:
    """A secret as it is kept, sealed; without `expires_at` it is the present one."""

    sealed: bytes
    expires_at: datetime | None = None


class DeliveryReplayed(Conflict):
    """Something that was delivered before comes again as something else."""

    type = "webhook-replayed"
    title = "The delivery was made before, and was another one"


class WebhookDisabled(Conflict):
    type = "webhook-disabled"
    title = "The task behind the webhook is disabled"


class NotTriggered(Conflict):
    type = "task-not-triggered"
    title = "The task is not one that webhooks set off"


class TooManyDeliveries(RateLimited):
    type = "webhook-rate-limited"
    title = "The webhook gets more deliveries than its task takes"

    def __init__(self, *, per_minute: int) -> None:
        words = f"It takes {per_minute} in {RATE_PERIOD_S} seconds; send it again later."
        super().__init__(words, headers={"retry-after": str(RATE_PERIOD_S)})


def new_secret() -> str:
    """Make one, in the form that Standard Webhooks gives them."""
    return secret_text(secrets.token_bytes(SECRET_BYTES))


def secret_problems(secret: str) -> list[FieldError]:
    """Find what is wrong with a secret that was made elsewhere, as Slack makes them."""
    if not _SECRET.fullmatch(secret) or len(key_of(secret)) < LEAST_KEY_BYTES:
        words = (
            f"must be {LEAST_KEY_BYTES} to {MAX_SECRET_CHARS} visible ASCII characters, those of base64 behind whsec_"
        )
        return [FieldError("secret", words)]
    return []


def name_of(task_id: TaskId) -> str:
    """Name what a secret is sealed as: that of one task does not open as another's."""
    return f"webhook secret of task {task_id}"
