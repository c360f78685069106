"""What clients send and get about notifications; interface contracts, field by field."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Self, cast
from urllib.parse import urlsplit
from uuid import UUID

from msgspec import Meta, Struct

from app.features.notifications.domain.news import Channel, Delivery, DeliveryState, Kind, Notification, Target
from app.features.notifications.use_cases.send_test import Tested
from app.kernel.errors import FieldError, ValidationFailed
from app.kernel.ids import NotificationId
from app.kernel.paging import MAX_IDS, Page
from app.kernel.storable import json_problem
from app.kernel.values import Json

CONFIG_LIMIT_BYTES = 16 * 1024

type ConfigDocument = Annotated[
    dict[str, object], Meta(description="As a task's: `channels`, `on`, `email_address`, `webhook_url`, ...")
]


class DeliveryOut(Struct, frozen=True, kw_only=True):
    """On its way to one place; of an address that may be a secret only the host is told. `error` is the last one's."""

    channel: Channel
    address: str | None
    status: DeliveryState
    attempts: int
    next_attempt_at: datetime | None
    ended_at: datetime | None
    error: str | None

    @classmethod
    def of(cls, one: Delivery) -> Self:
        return cls(
            channel=one.target.channel,
            address=_shown(one.target),
            status=one.state,
            attempts=one.attempts,
            next_attempt_at=one.due_at if one.state is DeliveryState.PENDING else None,
            ended_at=one.done_at,
            error=one.error,
        )


class NotificationOut(Struct, frozen=True, kw_only=True):
    """`repeats` is the notification that told the same a moment before, and was sent in its place."""

    id: str
    user_id: str
    kind: Kind
    title: str
    text: str
    agent: str | None
    run_id: str | None
    task_id: str | None
    chat_id: int | None
    details: Mapping[str, object]
    created_at: datetime
    read_at: datetime | None
    repeats: str | None
    deliveries: Sequence[DeliveryOut]

    @classmethod
    def of(cls, one: Notification) -> Self:
        about = one.about
        return cls(
            id=str(one.id),
            user_id=one.owner,
            kind=one.kind,
            title=one.title,
            text=one.text,
            agent=about.agent or None,
            run_id=None if about.run_id is None else str(about.run_id),
            task_id=None if about.task_id is None else str(about.task_id),
            chat_id=about.chat_id,
            details=one.details,
            created_at=one.created_at,
            read_at=one.read_at,
            repeats=None if one.repeats is None else str(one.repeats),
            deliveries=[DeliveryOut.of(delivery) for delivery in one.deliveries],
        )


class NotificationPageOut(Struct, frozen=True):
    items: Sequence[NotificationOut]
    total: int
    limit: int
    offset: int

    @classmethod
    def of(cls, page: Page[Notification]) -> Self:
        return cls([NotificationOut.of(one) for one in page.items], page.total, page.limit, page.offset)


class ReadAllOut(Struct, frozen=True):
    """How many had not been read."""

    read: int


class TestIn(Struct, frozen=True, forbid_unknown_fields=True):
    notification_config: ConfigDocument

    def config(self) -> Mapping[str, Json]:
        """Errors: ValidationFailed, for what cannot be kept."""
        if problem := json_problem(self.notification_config, limit_bytes=CONFIG_LIMIT_BYTES):
            raise ValidationFailed("Some fields are not valid.", errors=[FieldError("notification_config", problem)])
        return cast("Mapping[str, Json]", self.notification_config)


class TestOut(Struct, frozen=True):
    """`webhook_secret` is what the receiver at `webhook_url` checks signatures with; null where there is none."""

    notification: NotificationOut
    webhook_secret: str | None

    @classmethod
    def of(cls, tested: Tested) -> Self:
        return cls(NotificationOut.of(tested.notification), tested.webhook_secret)


def ids_of(given: Sequence[str]) -> tuple[NotificationId, ...] | None:
    """Read the filter `ids`; None where there is none. Errors: ValidationFailed."""
    texts = [text for one in given for text in one.split(",")]
    if not texts:
        return None
    try:
        if len(texts) <= MAX_IDS:
            return tuple(NotificationId(UUID(text)) for text in texts)
    except ValueError:
        pass
    message = f"must be at most {MAX_IDS} ids"
    raise ValidationFailed("Some filters are not valid.", errors=[FieldError("ids", message)])


def _shown(target: Target) -> str | None:
    if not target.address:
        return None
    if target.channel in {Channel.SLACK, Channel.WEBHOOK}:
        return urlsplit(target.address).hostname
    return target.address
