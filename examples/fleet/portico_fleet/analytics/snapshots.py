"""Snapshots: what users said, as the gateway's message hook reported it, and how much."""

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from msgspec import Meta, Struct

from portico_fleet.caller import Caller
from portico_fleet.paging import Page, Window
from portico_fleet.store import Store

SCHEMA = """
CREATE TABLE IF NOT EXISTS snapshots (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id TEXT NOT NULL,
    chat_id INTEGER,
    message TEXT NOT NULL,
    created_at TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS snapshots_by_user ON snapshots (user_id, id);
"""


# A number for a user is kept as its digits.
UserId = Annotated[int, Meta(ge=0, le=2**53 - 1)] | Annotated[str, Meta(min_length=1, max_length=255)]


class Snapshot(Struct):
    id: int
    user_id: str
    chat_id: int | None
    message: str
    created_at: datetime


class SnapshotPage(Page[Snapshot]): ...


class NewSnapshot(Struct):
    """What a hook reports; members it has beyond these are ignored, so that it may grow first."""

    user_id: UserId
    message: Annotated[str, Meta(min_length=1, max_length=200_000)]
    chat_id: Annotated[int, Meta(ge=1, le=2**53 - 1)] | None = None


class UserCount(Struct):
    user_id: str
    count: int


class UserCountPage(Page[UserCount]): ...


@dataclass(frozen=True, slots=True)
class Snapshots:
    """One's own snapshots; the reach of staff is everybody's."""

    store: Store

    async def add(self, user_id: str, *, message: str, chat_id: int | None) -> Snapshot:
        row = await self.store.run(
            lambda db: db.execute(
                "INSERT INTO snapshots (user_id, chat_id, message, created_at) VALUES (?, ?, ?, ?) RETURNING *",
                [user_id, chat_id, message, datetime.now(UTC).isoformat()],
            ).fetchone()
        )
        return _snapshot(row)

    async def page(self, caller: Caller, window: Window) -> SnapshotPage:
        """Newest first."""
        reach = [caller.is_staff, caller.user_id]

        def work(db: sqlite3.Connection) -> SnapshotPage:
            total = db.execute("SELECT count(*) FROM snapshots WHERE ? OR user_id = ?", reach).fetchone()[0]
            rows = db.execute(
                "SELECT * FROM snapshots WHERE ? OR user_id = ? ORDER BY id DESC LIMIT ? OFFSET ?",
                [*reach, window.limit, window.offset],
            )
            return SnapshotPage([_snapshot(row) for row in rows], total, window.limit, window.offset)

        return await self.store.run(work)

    async def counts(self, caller: Caller, window: Window) -> UserCountPage:
        """The most talkative first; who never said anything is not counted."""
        reach = [caller.is_staff, caller.user_id]

        def work(db: sqlite3.Connection) -> UserCountPage:
            total = db.execute(
                "SELECT count(DISTINCT user_id) FROM snapshots WHERE ? OR user_id = ?", reach
            ).fetchone()[0]
            rows = db.execute(
                "SELECT user_id, count(*) AS said FROM snapshots WHERE ? OR user_id = ? GROUP BY user_id"
                " ORDER BY said DESC, user_id LIMIT ? OFFSET ?",
                [*reach, window.limit, window.offset],
            )
            items = [UserCount(row["user_id"], row["said"]) for row in rows]
            return UserCountPage(items, total, window.limit, window.offset)

        return await self.store.run(work)


def _snapshot(row: sqlite3.Row) -> Snapshot:
    return Snapshot(
        id=row["id"],
        user_id=row["user_id"],
        chat_id=row["chat_id"],
        message=row["message"],
        created_at=datetime.fromisoformat(row["created_at"]),
    )
