"""Rows as values."""

import json
from collections.abc import Mapping, Sequence
from datetime import time
from typing import Any

from sqlalchemy import Row

from app.features.notifications.domain.news import About, Channel, Delivery, DeliveryState, Kind, Notification, Target
from app.features.notifications.domain.quiet import QuietHours
from app.kernel.ids import ChatId, NotificationId, RunId, UserId


# Any below: the columns of a row, and JSON out of them, have no type of their own
def notification_of(row: Row[Any], deliveries: Sequence[Delivery]) -> Notification:
    return Notification(
        id=NotificationId(row.id),
        owner=UserId(row.owner),
        kind=Kind(row.kind),
        title=row.title,
        text=row.text,
        about=About(
            run_id=None if row.run_id is None else RunId(row.run_id),
            task_id=row.task_id,
            chat_id=None if row.chat_id is None else ChatId(row.chat_id),
            agent=row.agent,
        ),
        details=row.details,
        created_at=row.created_at,
        read_at=row.read_at,
        repeats=None if row.repeats is None else NotificationId(row.repeats),
        deliveries=tuple(deliveries),
    )


def delivery_of(row: Row[Any]) -> Delivery:
    return Delivery(
        target=Target(Channel(row.channel), row.address),
        state=DeliveryState(row.state),
        attempts=row.attempts,
        due_at=row.due_at,
        done_at=row.done_at,
        error=row.error,
    )


def as_quiet(quiet: QuietHours | None) -> str | None:
    """Write JSON."""
    if quiet is None:
        return None
    return json.dumps({"start": f"{quiet.start:%H:%M}", "end": f"{quiet.end:%H:%M}", "zone": quiet.zone})


def quiet_of(kept: Mapping[str, Any] | None) -> QuietHours | None:
    if kept is None:
        return None
    return QuietHours(time.fromisoformat(kept["start"]), time.fromisoformat(kept["end"]), kept["zone"])
