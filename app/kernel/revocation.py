"""What is kept about tokens that were withdrawn: the edge refuses by it, the database remembers it.

Rule: tokens are named by what they say (`sub`, `jti`), never by their text, which can be spelled in several ways.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

MAX_NAME_LENGTH = 255
ALWAYS = datetime(9999, 12, 31, tzinfo=UTC)
"""As `before`: whenever the token was issued."""


class Mark(StrEnum):
    """The claim that names the tokens."""

    SUBJECT = "sub"
    JWT_ID = "jti"


@dataclass(frozen=True, slots=True)
class NewRevocation:
    """Refuse the tokens whose `mark` says `name` and which were issued before `before`.

    `expires_at` is when the last of them has expired, so that the revocation may be forgotten.
    """

    mark: Mark
    name: str
    before: datetime
    expires_at: datetime
    created_by: str


@dataclass(frozen=True, slots=True)
class Revocation:
    """One a `mark` and `name`. `number` grows with every change of any of them, in the order of the commits."""

    id: int
    number: int
    mark: Mark
    name: str
    before: datetime
    expires_at: datetime
    created_by: str
    created_at: datetime
    updated_at: datetime
    is_lifted: bool = False
