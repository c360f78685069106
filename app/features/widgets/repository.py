"""Visitors' conversations in PostgreSQL. One that has expired is not found, and is removed when others begin."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import delete, func, insert, select, text, update

from app.agents.contract import PastMessage
from app.features.widgets.domain import Session
from app.features.widgets.tables import SESSIONS
from app.infra.db.engine import session_of
from app.kernel.ids import RunId
from app.kernel.transaction import Tx

FORGOTTEN_AT_ONCE = 100
_LIVES = SESSIONS.c.expires_at > func.now()
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:word, 4093))")


class PostgresWidgetSessions:
    async def open(self, tx: Tx, key: bytes, widget: str, *, life: timedelta, at_most: int) -> Session | None:
        session = session_of(tx)
        await session.execute(_LOCK, {"word": widget})
        old = select(SESSIONS.c.key).where(SESSIONS.c.widget == widget, ~_LIVES).limit(FORGOTTEN_AT_ONCE)
        await session.execute(delete(SESSIONS).where(SESSIONS.c.key.in_(old.with_for_update(skip_locked=True))))
        count = await session.scalar(select(func.count()).select_from(SESSIONS).where(SESSIONS.c.widget == widget))
        if (count or 0) >= at_most:
            return None
        values = {"key": key, "widget": widget, "history": [], "turns": 0, "expires_at": func.now() + life}
        await session.execute(insert(SESSIONS).values(values))
        return Session(key, 0, is_busy=False)

    async def take(self, tx: Tx, key: bytes, widget: str, *, life: timedelta) -> Session | None:
        taking = update(SESSIONS).where(SESSIONS.c.key == key, SESSIONS.c.widget == widget, _LIVES)
        living = taking.values(expires_at=func.now() + life).returning(SESSIONS.c.turns, SESSIONS.c.run_id)
        row = (await session_of(tx).execute(living)).first()
        return None if row is None else Session(key, row.turns, is_busy=row.run_id is not None)

    async def note_run(self, tx: Tx, key: bytes, run_id: RunId) -> None:
        await session_of(tx).execute(update(SESSIONS).where(SESSIONS.c.key == key).values(run_id=run_id))

    async def history(self, tx: Tx, key: bytes) -> Sequence[PastMessage] | None:
        said = await session_of(tx).scalar(select(SESSIONS.c.history).where(SESSIONS.c.key == key))
        return None if said is None else [PastMessage(role, content) for role, content in said]

    async def settle(self, tx: Tx, key: bytes, run_id: RunId, said: Sequence[PastMessage] | None) -> None:
        values: dict[str, object] = {"run_id": None}
        if said is not None:
            values |= {"history": [[one.role, one.content] for one in said], "turns": SESSIONS.c.turns + 1}
        its = (SESSIONS.c.key == key, SESSIONS.c.run_id == run_id)
        await session_of(tx).execute(update(SESSIONS).where(*its).values(values))
