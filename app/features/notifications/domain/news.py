"""What there is to tell somebody, and what became of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from app.kernel.errors import Conflict, NotFound
from app.kernel.identity import Principal
from app.kernel.ids import ChatId, NotificationId, RunId, UserId
from app.kernel.values import Json

TITLE_LIMIT_CHARS = 200
TEXT_LIMIT_CHARS = 3500
"""a Telegram message has at most 4096 characters (Bot API, sendMessage)"""


class Kind(StrEnum):
    """What it is about; a test is sent by hand, and by no rule."""

    SUCCESS = "success"
    WARNING = "warning"
    ERROR = "error"
    WAITING = "waiting"
    APPROVAL = "approval"
    TEST = "test"


class Channel(StrEnum):
    """In-app is the list of notifications itself: what is written is there."""

    IN_APP = "in_app"
    EMAIL = "email"
    SLACK = "slack"
    TELEGRAM = "telegram"
    WEBHOOK = "webhook"


@dataclass(frozen=True, slots=True)
class About:
    """What a notification is about, as far as it is about something."""

    run_id: RunId | None = None
    task_id: UUID | None = None
    chat_id: ChatId | None = None
    agent: str = ""


NOTHING = About()


@dataclass(frozen=True, slots=True)
class News:
    """`key` names what happened: the same is told once, however often it is noted. `order` names what it is in order
    with, as a task. `same_as` is equal for what tells nothing new when it was told a moment ago; "" is always new.
    """

    key: str
    owner: UserId
    kind: Kind
    title: str
    text: str = ""
    order: str = ""
    about: About = NOTHING
    same_as: str = ""
    details: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Target:
    """Where on a channel it goes; "" is the place the operator has set."""

    channel: Channel
    address: str


class DeliveryState(StrEnum):
    """A dead one was given up; its owner may have it sent again."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One notification on its way to one place; `error` says how the last attempt failed, in our own words."""

    target: Target
    state: DeliveryState
    attempts: int
    due_at: datetime
    done_at: datetime | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Notification:
    """`repeats` is the one that told the same a moment before, and was sent in its place."""

    id: NotificationId
    owner: UserId
    kind: Kind
    title: str
    text: str
    about: About
    details: Mapping[str, Json]
    created_at: datetime
    read_at: datetime | None = None
    repeats: NotificationId | None = None
    deliveries: Sequence[Delivery] = ()


@dataclass(frozen=True, slots=True)
class NotificationFilter:
    """None lets everything through."""

    owner: UserId | None = None
    kind: Kind | None = None
    is_unread: bool | None = None
    has_dead: bool | None = None
    run_id: RunId | None = None
    task_id: UUID | None = None
    ids: tuple[NotificationId, ...] | None = None


def may_touch(who: Principal, owner: UserId) -> bool:
    return who.is_admin or who.user_id == owner


class NotificationNotFound(NotFound):
    type = "notification-not-found"
    title = "There is no such notification"


class NothingToResend(Conflict):
    """Everything was delivered, is on its way, or never had to be sent."""

    type = "nothing-to-resend"
    title = "Nothing of this notification was given up"
