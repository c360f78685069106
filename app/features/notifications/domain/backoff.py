"""What follows an attempt to deliver: done, again after a while, or given up.

Facts
- `Retry-After` is seconds or a date (RFC 9110 §10.2.3). It is believed up to an hour.
- A receiver that refuses (400, 403, 404, ...) may be in the middle of a deployment, so it is asked again for half a
  minute; one that says that it is gone (410, or 5xx to a recipient of mail) is not.
- The ends of what is given up bound the queue behind a receiver that never comes back.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 900.0
LONGEST_BELIEVED_S = 3600.0
MOST_ATTEMPTS = 20
MOST_REFUSALS = 6
GIVE_UP_AFTER = timedelta(hours=24)
JITTER = 0.25
TOO_EARLY_OR_MANY = frozenset({408, 425, 429})


class Answer(StrEnum):
    """How a receiver took a message; a failure may pass, a refusal hardly, and who is gone is gone."""

    ACCEPTED = "accepted"
    FAILED = "failed"
    REFUSED = "refused"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Attempted:
    """`words` are our own, for the owner: nothing of an answer's body, of an address or of a secret."""

    answer: Answer
    words: str = ""
    retry_after_s: float | None = None


ACCEPTED = Attempted(Answer.ACCEPTED)


@dataclass(frozen=True, slots=True)
class Done:
    """It was delivered."""


@dataclass(frozen=True, slots=True)
class Again:
    """It is to be tried again."""

    in_s: float
    words: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    words: str


type Step = Done | Again | GiveUp


def next_step(
    attempted: Attempted, *, attempts: int, is_late: bool, jitter: float, first_s: float = FIRST_WAIT_S
) -> Step:
    """Decide, after that many attempts; `is_late` when the time to give up has come. `jitter` is from -1 to 1."""
    if attempted.answer is Answer.ACCEPTED:
        return Done()
    most = {Answer.FAILED: MOST_ATTEMPTS, Answer.REFUSED: MOST_REFUSALS}.get(attempted.answer, 1)
    if attempts >= most or is_late:
        return GiveUp(attempted.words)
    wait_s = min(LONGEST_WAIT_S, first_s * 2.0 ** (attempts - 1)) * (1 + JITTER * jitter)
    asked_s = min(LONGEST_BELIEVED_S, attempted.retry_after_s or 0)
    return Again(max(wait_s, asked_s), attempted.words)


def answer_of(status: int, *, retry_after_s: float | None = None) -> Attempted:
    """Judge an HTTP status; no redirect is followed."""
    if 200 <= status < 300:
        return ACCEPTED
    words = f"the receiver answered {status}"
    if status == 410:
        return Attempted(Answer.GONE, words)
    if status in TOO_EARLY_OR_MANY or status >= 500:
        return Attempted(Answer.FAILED, words, retry_after_s)
    return Attempted(Answer.REFUSED, words, retry_after_s)


def seconds_of(retry_after: str | None, *, now: datetime) -> float | None:
    """Read `Retry-After`; None where it says nothing that can be read."""
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit() and len(text) <= 9:
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - now).total_seconds())
    except (ValueError, TypeError):  # TypeError: a date without an offset
        return None
