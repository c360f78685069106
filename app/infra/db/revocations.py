"""Withdrawn tokens in PostgreSQL: one row a name, and one row that counts their changes.

Facts
- Ids and sequences are handed out before a commit, so a reader who follows them misses whoever commits late. Here every
  writer first adds one to the counter's row and so holds its lock until the commit: numbers and commits have one order,
  and whoever sees the counter at N sees every change up to N. Writers take turns; revocations are rare.
- A lifted revocation stays, marked, until it would have expired: a reader must see that it was lifted.
- NOTIFY goes out with the commit and never without it; it is a hint, see `revocation_feed.py`.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from sqlalchemy import (
    CheckConstraint,
    ColumnElement,
    Index,
    Row,
    SmallInteger,
    String,
    Table,
    UniqueConstraint,
    case,
    delete,
    func,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.sql.dml import ReturningInsert

from app.infra.db.base import Base, Dated, Numbered
from app.infra.db.engine import session_of
from app.kernel.ids import MAX_ID
from app.kernel.paging import ListQuery, Page
from app.kernel.revocation import MAX_NAME_LENGTH, Mark, NewRevocation, Revocation
from app.kernel.transaction import Tx

PAGE_ROWS = 200  # read in one go: 8 ms of the event loop
CHANNEL = "portico_revocations"
"""Channels belong to the database, not to a schema; a hint too many costs one look."""


class RevocationRow(Numbered, Dated, Base):
    """`mark` is the claim, `name` what it says; `number` is the counter as of the row's last change."""

    __tablename__ = "revocations"
    __table_args__ = (
        UniqueConstraint("mark", "name"),
        CheckConstraint("mark IN ('sub', 'jti')", name="mark"),
        Index(None, "number"),
        Index(None, "expires_at"),
    )

    number: Mapped[int]
    mark: Mapped[str] = mapped_column(String(3))
    name: Mapped[str] = mapped_column(String(MAX_NAME_LENGTH))
    before: Mapped[datetime]
    expires_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(MAX_NAME_LENGTH))
    lifted_at: Mapped[datetime | None]


class RevocationCounterRow(Base):
    """One row: the number of the last change, and the lock that puts changes in order."""

    __tablename__ = "revocation_counter"
    __table_args__ = (CheckConstraint("id = 1", name="single"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False, server_default=text("1"))
    number: Mapped[int]


ROWS = cast("Table", RevocationRow.__table__)
COUNTER = cast("Table", RevocationCounterRow.__table__)
IS_IN_FORCE = ROWS.c.lifted_at.is_(None) & (ROWS.c.expires_at > func.now())

type Reader = AsyncConnection | AsyncSession


class PostgresRevocationStore:
    async def add(self, tx: Tx, draft: NewRevocation, *, limit: int) -> Revocation | None:
        session = session_of(tx)
        number = await _next_number(session)
        await session.execute(delete(ROWS).where(ROWS.c.expires_at <= func.now()))
        is_kept = _is_named(draft.mark, draft.name)
        kept, others = (
            await session.execute(select(func.count().filter(is_kept), func.count().filter(~is_kept)).select_from(ROWS))
        ).one()
        if not kept and others >= limit:
            return None
        return _revocation((await session.execute(_upsert(draft, number))).one())

    async def lift(self, tx: Tx, revocation_id: int) -> Revocation | None:
        if not 0 < revocation_id <= MAX_ID:
            return None
        session = session_of(tx)
        number = await _next_number(session)
        lifted = update(ROWS).where(ROWS.c.id == revocation_id, IS_IN_FORCE)
        values = {"number": number, "lifted_at": func.now(), "updated_at": func.now()}
        row = (await session.execute(lifted.values(values).returning(*ROWS.c))).first()
        return _revocation(row) if row else None

    async def list(self, tx: Tx, query: ListQuery, *, names: Mapping[Mark, str]) -> Page[Revocation]:
        session = session_of(tx)
        wanted = [IS_IN_FORCE, *_conditions(query), *(_is_named(mark, name) for mark, name in names.items())]
        total = await session.scalar(select(func.count()).select_from(ROWS).where(*wanted))
        keys = [ROWS.c[query.order_by or "id"], ROWS.c.id]
        order = [key.asc() if query.sort_order == "asc" else key.desc() for key in keys]
        page = select(ROWS).where(*wanted).order_by(*order).limit(query.limit).offset(query.offset)
        rows = await session.execute(page)
        return Page([_revocation(row) for row in rows], total or 0, query.limit, query.offset)


async def read_number(reader: Reader) -> int:
    """Tell the number of the last change; 0 before the first."""
    number = await reader.scalar(select(COUNTER.c.number))
    return number or 0


async def read_in_force(reader: Reader) -> Sequence[Revocation]:
    """Read every revocation in force, a page at a time."""
    found: list[Revocation] = []
    last_id = 0
    while True:
        page = select(ROWS).where(ROWS.c.id > last_id, IS_IN_FORCE).order_by(ROWS.c.id).limit(PAGE_ROWS)
        rows = [_revocation(row) for row in await reader.execute(page)]
        found += rows
        if len(rows) < PAGE_ROWS:
            return found
        last_id = rows[-1].id


async def read_changes(reader: Reader, *, after: int) -> Sequence[Revocation]:
    """Read the first changes after a number, in order, lifted ones too; fewer than `PAGE_ROWS` are all there are."""
    page = select(ROWS).where(ROWS.c.number > after).order_by(ROWS.c.number).limit(PAGE_ROWS)
    return [_revocation(row) for row in await reader.execute(page)]


async def _next_number(session: AsyncSession) -> int:
    """Take the next number, and with it the turn to write until the transaction ends."""
    first = insert(COUNTER).values(id=1, number=1)
    counted = first.on_conflict_do_update(index_elements=["id"], set_={"number": COUNTER.c.number + 1})
    number: int = (await session.execute(counted.returning(COUNTER.c.number))).scalar_one()
    await session.execute(select(func.pg_notify(CHANNEL, "")))
    return number


def _upsert(
    draft: NewRevocation, number: int
) -> ReturningInsert[Any]:  # Any: the columns, which have no type of their own
    """Insert; over one in force widen it, over one that was lifted begin anew."""
    values = {
        "number": number,
        "before": draft.before,
        "expires_at": draft.expires_at,
        "created_by": draft.created_by,
    }
    new = insert(ROWS).values(mark=draft.mark.value, name=draft.name, **values)
    is_lifted = ROWS.c.lifted_at.is_not(None)
    merged = {
        "number": new.excluded.number,
        "before": case((is_lifted, new.excluded.before), else_=func.greatest(ROWS.c.before, new.excluded.before)),
        "expires_at": case(
            (is_lifted, new.excluded.expires_at), else_=func.greatest(ROWS.c.expires_at, new.excluded.expires_at)
        ),
        "created_by": new.excluded.created_by,
        "created_at": case((is_lifted, func.now()), else_=ROWS.c.created_at),
        "updated_at": func.now(),
        "lifted_at": None,
    }
    return new.on_conflict_do_update(index_elements=["mark", "name"], set_=merged).returning(*ROWS.c)


def _is_named(mark: Mark, name: str) -> ColumnElement[bool]:
    return (ROWS.c.mark == mark.value) & (ROWS.c.name == name)


def _conditions(query: ListQuery) -> Sequence[ColumnElement[bool]]:
    bounds = (
        (query.created_before, ROWS.c.created_at.__lt__),
        (query.created_after, ROWS.c.created_at.__gt__),
        (query.updated_before, ROWS.c.updated_at.__lt__),
        (query.updated_after, ROWS.c.updated_at.__gt__),
    )
    found = [compare(moment) for moment, compare in bounds if moment is not None]
    return found if query.ids is None else [*found, ROWS.c.id.in_(query.ids)]


def _revocation(row: Row[Any]) -> Revocation:  # Any: as above
    return Revocation(
        id=row.id,
        number=row.number,
        mark=Mark(row.mark),
        name=row.name,
        before=row.before,
        expires_at=row.expires_at,
        created_by=row.created_by,
        created_at=row.created_at,
        updated_at=row.updated_at,
        is_lifted=row.lifted_at is not None,
    )
