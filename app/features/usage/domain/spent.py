"""What was spent, as it is told: of a run, and added up by day, agent, chat, model or user."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum

from app.agents.turns import Usage
from app.features.usage.domain.budget import Payer
from app.kernel.ids import ChatId, UserId


@dataclass(frozen=True, slots=True)
class Settlement:
    """One call that is over: what it took, on the day it was begun."""

    payer: Payer
    day: date
    spent: Usage
    model: str = ""
    milliseconds: int = 0


NOTHING = Usage()


class Dimension(StrEnum):
    """What usage may be added up by."""

    DAY = "day"
    AGENT = "agent"
    CHAT = "chat"
    MODEL = "model"
    USER = "user"


@dataclass(frozen=True, slots=True)
class UsageFilter:
    """Whose usage, and of what; None is any."""

    user_id: UserId | None = None
    agent: str | None = None
    chat_id: ChatId | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class UsageSum:
    """`values` says of what it is the sum. `cost` leaves out `unpriced_requests`, whose price was not known."""

    values: Mapping[Dimension, date | str | int | None] = field(default_factory=dict)
    usage: Usage = NOTHING
    milliseconds: int = 0
    unpriced_requests: int = 0
