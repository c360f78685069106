"""What owners were told, read and marked in PostgreSQL."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, delete, exists, func, literal, select, update

from app.features.notifications.domain.news import Delivery, Notification, NotificationFilter
from app.features.notifications.repository.rows import delivery_of, notification_of
from app.features.notifications.tables import DELIVERIES, NOTIFICATIONS
from app.infra.db.engine import session_of
from app.kernel.ids import NotificationId, UserId
from app.kernel.paging import ListQuery, Page, Search
from app.kernel.transaction import Tx

FORGOTTEN_AT_ONCE = 1_000
_COLUMNS = NOTIFICATIONS.c


class PostgresNotifications:
    async def find(self, tx: Tx, notification_id: NotificationId) -> Notification | None:
        rows = (await session_of(tx).execute(select(NOTIFICATIONS).where(_COLUMNS.id == notification_id))).all()
        return next(iter(await self._whole(tx, rows)), None)

    async def list(self, tx: Tx, query: ListQuery, *, only: NotificationFilter) -> Page[Notification]:
        session = session_of(tx)
        wanted = [*_of(only), *_during(query), *_matching(query.search)]
        total = await session.scalar(select(func.count()).select_from(NOTIFICATIONS).where(*wanted))
        keys = [_COLUMNS[query.order_by or "id"], _COLUMNS.id]
        order = [key.asc() if query.sort_order == "asc" else key.desc() for key in keys]
        page = select(NOTIFICATIONS).where(*wanted).order_by(*order).limit(query.limit).offset(query.offset)
        rows = (await session.execute(page)).all()
        return Page(await self._whole(tx, rows), total or 0, query.limit, query.offset)

    async def mark_read(self, tx: Tx, notification_id: NotificationId) -> None:
        unread = (_COLUMNS.id == notification_id, _COLUMNS.read_at.is_(None))
        await session_of(tx).execute(update(NOTIFICATIONS).where(*unread).values(read_at=func.now()))

    async def mark_all_read(self, tx: Tx, owner: UserId) -> int:
        unread = (_COLUMNS.owner == owner, _COLUMNS.read_at.is_(None))
        marked = await session_of(tx).execute(
            update(NOTIFICATIONS).where(*unread).values(read_at=func.now()).returning(_COLUMNS.id)
        )
        return len(marked.all())

    async def count_old(self, tx: Tx, *, age: timedelta) -> int:
        found = await session_of(tx).scalar(select(func.count()).select_from(NOTIFICATIONS).where(*_is_old(age)))
        return found or 0

    async def forget(self, tx: Tx, *, age: timedelta) -> int:
        old = select(_COLUMNS.id).where(*_is_old(age)).order_by(_COLUMNS.created_at).limit(FORGOTTEN_AT_ONCE)
        gone = await session_of(tx).execute(delete(NOTIFICATIONS).where(_COLUMNS.id.in_(old)).returning(_COLUMNS.id))
        return len(gone.all())

    # Any: a row's columns have no type of their own
    async def _whole(self, tx: Tx, rows: Sequence[Row[Any]]) -> Sequence[Notification]:
        """Give them with their deliveries. Cost: one statement for all of them."""
        ids = [row.id for row in rows]
        found: Mapping[object, list[Delivery]] = {one: [] for one in ids}
        if ids:
            of_these = select(DELIVERIES).where(DELIVERIES.c.notification_id.in_(ids)).order_by(DELIVERIES.c.id)
            for delivery in await session_of(tx).execute(of_these):
                found[delivery.notification_id].append(delivery_of(delivery))
        return [notification_of(row, found[row.id]) for row in rows]


def _is_old(age: timedelta) -> Sequence[ColumnElement[bool]]:
    waits = exists().where(DELIVERIES.c.notification_id == _COLUMNS.id, DELIVERIES.c.state == "pending")
    return (_COLUMNS.created_at < func.now() - age, ~waits)


def _of(only: NotificationFilter) -> Sequence[ColumnElement[bool]]:
    given = (
        (_COLUMNS.owner, only.owner),
        (_COLUMNS.kind, None if only.kind is None else only.kind.value),
        (_COLUMNS.run_id, only.run_id),
        (_COLUMNS.task_id, only.task_id),
    )
    found = [column == literal(value) for column, value in given if value is not None]
    if only.is_unread is not None:
        found.append(_COLUMNS.read_at.is_(None) if only.is_unread else _COLUMNS.read_at.is_not(None))
    if only.has_dead is not None:
        dead = exists().where(DELIVERIES.c.notification_id == _COLUMNS.id, DELIVERIES.c.state == "dead")
        found.append(dead if only.has_dead else ~dead)
    return found if only.ids is None else [*found, _COLUMNS.id.in_(only.ids)]


def _during(query: ListQuery) -> Sequence[ColumnElement[bool]]:
    """Only whether it was read is ever changed, so it was last updated when it was written."""
    befores = [moment for moment in (query.created_before, query.updated_before) if moment is not None]
    afters = [moment for moment in (query.created_after, query.updated_after) if moment is not None]
    at = _COLUMNS.created_at
    return [*(at < moment for moment in befores), *(at > moment for moment in afters)]


def _matching(search: Search | None) -> Sequence[ColumnElement[bool]]:
    if search is None:
        return ()
    column = _COLUMNS[search.field]
    contains = column.icontains if search.ignore_case else column.contains
    return [contains(search.text, autoescape=True)]
