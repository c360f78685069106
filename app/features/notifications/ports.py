"""What the use cases of notifications ask of the outside: the outbox, the list its owners read, and who sends."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from app.features.notifications.domain.backoff import Attempted, Step
from app.features.notifications.domain.news import News, Notification, NotificationFilter, Target
from app.features.notifications.domain.quiet import QuietHours
from app.kernel.ids import NotificationId, RunId, UserId
from app.kernel.paging import ListQuery, Page
from app.kernel.transaction import Tx
from app.kernel.values import Json

type Config = Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """One place it is to be sent to. `lane` names what it is in order with; `destination` whose server takes it."""

    target: Target
    lane: str
    destination: str
    quiet: QuietHours | None = None


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that is ours until its lease is over; `attempts` counts this one. `now` is the database's time."""

    id: int
    epoch: int
    attempts: int
    is_late: bool
    order: str
    lane: str
    destination: str
    target: Target
    quiet: QuietHours | None
    notification: Notification
    now: datetime


class Outbox(Protocol):
    """What is to be sent, in order within each lane, each by one worker at a time. Times are the database's.

    Errors: StorageUnavailable from every method.
    """

    async def add(
        self, tx: Tx, news: News, deliveries: Sequence[NewDelivery], *, dedupe: timedelta
    ) -> NotificationId | None:
        """Write news down with the caller's transaction; None where the same key was written before.

        What tells the same as another one within `dedupe` is written without deliveries, and points to that one.
        Concurrency: holds the lock of what it is in order with until the transaction ends, so that the order is that
        of the commits. Workers are told when it is committed.
        """
        ...

    async def claim(self, *, free: int, each: int, busy: Sequence[str], lease: timedelta) -> Sequence[Claimed]:
        """Take up to `free` deliveries that are due, of one destination at most `each`, of those in `busy` none."""
        ...

    async def next_due_s(self, *, busy: Sequence[str]) -> float | None:
        """Tell in how many seconds something is due whose destination is not `busy`; None where nothing waits."""
        ...

    async def settle(self, one: Claimed, step: Step) -> None:
        """Write down what followed an attempt, and let the next one of its lane go when this is over.

        Done is written whoever has it by now, for that is a fact; anything else only while it is still ours.
        """
        ...

    async def put_off(self, one: Claimed, until: datetime) -> None:
        """Let it wait; this was no attempt."""
        ...

    async def resend(self, tx: Tx, notification_id: NotificationId) -> int:
        """Let what was given up begin anew, behind nothing but what is being sent; tells how many there were."""
        ...


class Notifications(Protocol):
    """What owners were told. Errors: StorageUnavailable from every method."""

    async def find(self, tx: Tx, notification_id: NotificationId) -> Notification | None: ...

    async def list(self, tx: Tx, query: ListQuery, *, only: NotificationFilter) -> Page[Notification]:
        """List notifications, the newest first unless the query orders otherwise."""
        ...

    async def mark_read(self, tx: Tx, notification_id: NotificationId) -> None: ...

    async def mark_all_read(self, tx: Tx, owner: UserId) -> int: ...

    async def count_old(self, tx: Tx, *, age: timedelta) -> int:
        """Tell how many were written so long ago, and wait for nothing."""
        ...

    async def forget(self, tx: Tx, *, age: timedelta) -> int:
        """Remove some of them; 0 when nothing is left."""
        ...


@dataclass(frozen=True, slots=True)
class Message:
    """A notification as it is to be sent: `name` is the same in every attempt, so that a receiver can tell."""

    name: str
    address: str
    notification: Notification


class Sender(Protocol):
    async def send(self, message: Message) -> Attempted:
        """Send it, once, and tell how it was taken.

        Within a bounded time; a failure is an answer, anything raised is a bug, and counts as a failure.
        """
        ...


@dataclass(frozen=True, slots=True)
class RulesOfRun:
    """How the owner of a run is to be told: the configuration, the task it is for, and what news are in order with."""

    config: Config | None = None
    task_id: UUID | None = None
    order: str = ""


class Preferences(Protocol):
    """Whose rules hold for a run; known by whoever knows why it was begun."""

    async def of_run(self, tx: Tx, run_id: RunId) -> RulesOfRun: ...
