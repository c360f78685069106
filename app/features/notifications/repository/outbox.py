"""The outbox in PostgreSQL: who is next in a lane is decided under the lock of what it is in order with.

Facts
- now() is the beginning of a transaction; what is asked of a moment here may have waited for a lock since, so it is
  asked of clock_timestamp().
- A claim looks at the heads that are due for longest, a few hundred of them, and takes few of each destination; one
  that has enough under way is left out, so that heads of others come into sight.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, event, select, text, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.features.notifications.domain.backoff import GIVE_UP_AFTER, Again, Done, GiveUp, Step
from app.features.notifications.domain.news import Channel, News, Target
from app.features.notifications.ports import Claimed, NewDelivery
from app.features.notifications.repository.rows import as_quiet, notification_of, quiet_of
from app.features.notifications.tables import DELIVERIES, NOTIFICATIONS
from app.infra.db.engine import Database, session_of
from app.kernel.ids import NotificationId, new_run_id
from app.kernel.transaction import Tx

SEEN_AT_ONCE = 512

_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:word, 4033))")
_SAME = text("""
SELECT id FROM notifications
WHERE order_key = :order AND same_as = :same AND same_as <> '' AND owner = :owner AND repeats IS NULL
  AND created_at > clock_timestamp() - CAST(:within AS interval)
ORDER BY created_at DESC LIMIT 1""")
_QUEUE = text("""
INSERT INTO notification_deliveries
  (notification_id, lane, destination, channel, address, quiet, is_head, due_at, give_up_at)
SELECT :id, CAST(:lane AS varchar), :destination, :channel, :address, CAST(:quiet AS json),
  NOT EXISTS (SELECT FROM notification_deliveries WHERE lane = CAST(:lane AS varchar) AND state = 'pending'),
  clock_timestamp(), clock_timestamp() + CAST(:patience AS interval)""")
_CLAIM = text("""
WITH seen AS (
  SELECT id, destination, due_at FROM notification_deliveries
  WHERE is_head AND state = 'pending' AND due_at <= now() AND destination <> ALL(CAST(:busy AS text[]))
  ORDER BY due_at, id LIMIT :seen
), chosen AS (
  SELECT id FROM (
    SELECT id, due_at, row_number() OVER (PARTITION BY destination ORDER BY due_at, id) AS nth FROM seen
  ) AS ranked
  WHERE nth <= :each ORDER BY due_at, id LIMIT :free
), due AS (
  SELECT d.id FROM notification_deliveries AS d JOIN chosen USING (id)
  WHERE d.is_head AND d.state = 'pending' AND d.due_at <= now() FOR UPDATE OF d SKIP LOCKED
), taken AS (
  UPDATE notification_deliveries AS d
  SET due_at = now() + CAST(:lease AS interval), epoch = epoch + 1, attempts = attempts + 1
  FROM due WHERE d.id = due.id RETURNING d.*
)
SELECT n.*, taken.id AS delivery_id, taken.epoch, taken.attempts, taken.lane, taken.destination, taken.channel,
  taken.address, taken.quiet, taken.give_up_at <= now() AS is_late, now() AS taken_at
FROM taken JOIN notifications AS n ON n.id = taken.notification_id
ORDER BY taken.id""")
_NEXT = text("""
SELECT extract(epoch FROM min(due_at) - clock_timestamp()) FROM notification_deliveries
WHERE is_head AND state = 'pending' AND destination <> ALL(CAST(:busy AS text[]))""")
_NEXT_HEAD = text("""
UPDATE notification_deliveries SET is_head = true
WHERE id = (SELECT min(id) FROM notification_deliveries WHERE lane = :lane AND state = 'pending')""")
_REVIVE = text("""
UPDATE notification_deliveries SET state = 'pending', is_head = false, attempts = 0, epoch = epoch + 1, error = NULL,
  done_at = NULL, due_at = clock_timestamp(), give_up_at = clock_timestamp() + CAST(:patience AS interval)
WHERE notification_id = :id AND state = 'dead' RETURNING lane""")
_LEAD = text("""
UPDATE notification_deliveries SET is_head = true
WHERE id = (SELECT min(id) FROM notification_deliveries WHERE lane = :lane AND state = 'pending')
  AND NOT EXISTS (SELECT FROM notification_deliveries WHERE lane = :lane AND state = 'pending' AND is_head)""")

type Tell = Callable[[], None]


@dataclass(frozen=True, slots=True)
class PostgresOutbox:
    """`tell` says to workers that something is due; called behind the commit."""

    database: Database
    tell: Tell

    async def add(
        self, tx: Tx, news: News, deliveries: Sequence[NewDelivery], *, dedupe: timedelta
    ) -> NotificationId | None:
        session = session_of(tx)
        order = news.order or news.key
        await session.execute(_LOCK, {"word": order})
        same = None
        if dedupe and news.same_as:
            known = {"order": order, "same": news.same_as, "owner": news.owner, "within": dedupe}
            same = await session.scalar(_SAME, known)
        new = postgres_insert(NOTIFICATIONS).values({**_values(news, order), "repeats": same})
        made = await session.scalar(new.on_conflict_do_nothing(index_elements=["key"]).returning(NOTIFICATIONS.c.id))
        if made is None:
            return None
        if same is None and deliveries:
            await session.execute(_QUEUE, [_queued(made, one) for one in deliveries])
            self._tell_behind_commit(session)
        return NotificationId(made)

    async def claim(self, *, free: int, each: int, busy: Sequence[str], lease: timedelta) -> Sequence[Claimed]:
        values = {"free": free, "each": each, "busy": list(busy), "lease": lease, "seen": SEEN_AT_ONCE}
        async with self.database.statements() as connection:
            rows = (await connection.execute(_CLAIM, values)).all()
        return [_claimed(row) for row in rows]

    async def next_due_s(self, *, busy: Sequence[str]) -> float | None:
        async with self.database.statements() as connection:
            found = (await connection.execute(_NEXT, {"busy": list(busy)})).scalar_one_or_none()
        return None if found is None else float(found)

    async def settle(self, one: Claimed, step: Step) -> None:
        match step:
            case Done():
                await self._end(one, state="delivered", error=None, is_fact=True)
            case GiveUp():
                await self._end(one, state="dead", error=step.words, is_fact=False)
            case Again():
                due = text("clock_timestamp() + CAST(:wait AS interval)").bindparams(wait=timedelta(seconds=step.in_s))
                await self._change(one, {"due_at": due, "error": step.words[:255]})

    async def put_off(self, one: Claimed, until: datetime) -> None:
        await self._change(
            one, {"due_at": until, "give_up_at": until + GIVE_UP_AFTER, "attempts": DELIVERIES.c.attempts - 1}
        )

    async def resend(self, tx: Tx, notification_id: NotificationId) -> int:
        session = session_of(tx)
        order = await session.scalar(select(NOTIFICATIONS.c.order_key).where(NOTIFICATIONS.c.id == notification_id))
        await session.execute(_LOCK, {"word": order or ""})
        lanes = (await session.scalars(_REVIVE, {"id": notification_id, "patience": GIVE_UP_AFTER})).all()
        for lane in lanes:
            await session.execute(_LEAD, {"lane": lane})
        if lanes:
            self._tell_behind_commit(session)
        return len(lanes)

    async def _change(self, one: Claimed, values: dict[str, Any]) -> None:  # Any: of every column its own type
        """Change what is ours still."""
        ours = (DELIVERIES.c.id == one.id, DELIVERIES.c.epoch == one.epoch, DELIVERIES.c.state == "pending")
        async with self.database.begin() as tx:
            await session_of(tx).execute(update(DELIVERIES).where(*ours).values(values))

    async def _end(self, one: Claimed, *, state: str, error: str | None, is_fact: bool) -> None:
        """End it, and let the next one of its lane be taken; a fact ends it whoever has it by now."""
        which = [DELIVERIES.c.id == one.id, DELIVERIES.c.state == "pending"]
        which += [] if is_fact else [DELIVERIES.c.epoch == one.epoch]
        values = {"state": state, "is_head": False, "error": error, "done_at": text("clock_timestamp()")}
        async with self.database.begin() as tx:
            session = session_of(tx)
            await session.execute(_LOCK, {"word": one.order})
            ended = await session.scalar(update(DELIVERIES).where(*which).values(values).returning(DELIVERIES.c.id))
            if ended is not None:
                await session.execute(_NEXT_HEAD, {"lane": one.lane})

    def _tell_behind_commit(self, session: AsyncSession) -> None:
        event.listen(session.sync_session, "after_commit", lambda _: self.tell(), once=True)


def _values(news: News, order: str) -> dict[str, Any]:  # Any: of every column its own type
    about = news.about
    return {
        "id": new_run_id(),
        "key": news.key,
        "owner": news.owner,
        "kind": news.kind.value,
        "title": news.title,
        "text": news.text,
        "order_key": order,
        "same_as": news.same_as,
        "run_id": about.run_id,
        "task_id": about.task_id,
        "chat_id": about.chat_id,
        "agent": about.agent,
        "details": dict(news.details),
    }


def _queued(notification_id: NotificationId, one: NewDelivery) -> dict[str, Any]:  # Any: as above
    return {
        "id": notification_id,
        "lane": one.lane,
        "destination": one.destination,
        "channel": one.target.channel.value,
        "address": one.target.address,
        "quiet": as_quiet(one.quiet),
        "patience": GIVE_UP_AFTER,
    }


def _claimed(row: Row[Any]) -> Claimed:  # Any: the columns, which have no type of their own
    return Claimed(
        id=row.delivery_id,
        epoch=row.epoch,
        attempts=row.attempts,
        is_late=row.is_late,
        order=row.order_key,
        lane=row.lane,
        destination=row.destination,
        target=Target(Channel(row.channel), row.address),
        quiet=quiet_of(row.quiet),
        notification=notification_of(row, ()),
        now=row.taken_at,
    )
