"""The audit in PostgreSQL: written by whoever acts, in his transaction."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, delete, func, insert, select, text

from app.features.audit.domain import AuditFilter, Entry
from app.features.audit.tables import AUDIT
from app.infra.db.engine import session_of
from app.infra.db.listing import conditions, page_of
from app.kernel.audit import Act
from app.kernel.ids import UserId
from app.kernel.paging import ListQuery, Page
from app.kernel.transaction import Tx

NAME_LIMIT_CHARS = 255
FORGOTTEN_AT_ONCE = 5_000
_AS_LISTED = {**AUDIT.c, "created_at": AUDIT.c.at, "updated_at": AUDIT.c.at}
"""nothing is changed, so it was last updated when it was created"""


class PostgresAuditStore:
    async def record(self, tx: Tx, act: Act) -> None:
        values = {
            "who": act.who,
            "owner": act.owner,
            "action": act.action,
            "object_id": act.object_id[:NAME_LIMIT_CHARS],
            "agents": list(act.agents),
            "request_id": act.request_id[:NAME_LIMIT_CHARS],
            "details": dict(act.details),
        }
        await session_of(tx).execute(insert(AUDIT).values(values))

    async def list(self, tx: Tx, query: ListQuery, *, only: AuditFilter) -> Page[Entry]:
        wanted = [*_of(only), *conditions(_AS_LISTED, query)]
        if query.ids is not None:
            wanted.append(AUDIT.c.id.in_(query.ids))
        rows, total = await page_of(tx, select(AUDIT), _AS_LISTED, wanted, query)
        return Page([_entry(row) for row in rows], total, query.limit, query.offset)

    async def count_old(self, tx: Tx, *, age: timedelta) -> int:
        found = await session_of(tx).scalar(select(func.count()).select_from(AUDIT).where(_is_old(age)))
        return found or 0

    async def forget(self, tx: Tx, *, age: timedelta) -> int:
        session = session_of(tx)
        await session.execute(text("SET LOCAL portico.audit_retention = 'on'"))
        old = select(AUDIT.c.id).where(_is_old(age)).order_by(AUDIT.c.id).limit(FORGOTTEN_AT_ONCE)
        gone = await session.execute(delete(AUDIT).where(AUDIT.c.id.in_(old)).returning(AUDIT.c.id))
        return len(gone.all())


def _is_old(age: timedelta) -> ColumnElement[bool]:
    return AUDIT.c.at < func.now() - age


def _of(only: AuditFilter) -> Sequence[ColumnElement[bool]]:
    given = (
        (AUDIT.c.who, only.who),
        (AUDIT.c.owner, only.owner),
        (AUDIT.c.action, only.action),
        (AUDIT.c.object_id, only.object_id),
        (AUDIT.c.request_id, only.request_id),
    )
    return [column == value for column, value in given if value is not None]


def _entry(row: Row[Any]) -> Entry:  # Any: the columns, which have no type of their own
    owner = None if row.owner is None else UserId(row.owner)
    act = Act(row.action, row.object_id, UserId(row.who), owner, tuple(row.agents), row.request_id, row.details)
    return Entry(row.id, row.at, act)
