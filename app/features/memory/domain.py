"""What is remembered of people, and what agents write down between turns: the bounds, and what may not be found."""

from dataclasses import dataclass
from datetime import datetime

from app.agents.house import MEMORIES_LIMIT as MEMORIES_LIMIT  # noqa: PLC0414 - a bound of ours, told to models there
from app.kernel.errors import NotFound
from app.kernel.ids import UserId

NOTES_LIMIT = 500
"""of one person, over all threads; the ones that were not written for longest give way"""


@dataclass(frozen=True, slots=True)
class Kept:
    """A memory as it is kept."""

    id: int
    owner: UserId
    text: str
    tags: tuple[str, ...]
    created_at: datetime
    updated_at: datetime


class MemoryNotFound(NotFound):
    type = "memory-not-found"
    title = "Nothing of this id is remembered"
