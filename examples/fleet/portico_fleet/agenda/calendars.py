"""Calendars: what they are, and where they are kept."""

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from portico_fleet.agenda.moments import from_micros, to_micros
from portico_fleet.caller import Caller
from portico_fleet.paging import Page, Window
from portico_fleet.refused import Conflict, NotAllowed, NotFound
from portico_fleet.store import Store

SCHEMA = """
CREATE TABLE IF NOT EXISTS calendars (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT,
    color TEXT,
    is_primary INTEGER NOT NULL,
    visibility TEXT NOT NULL,
    timezone TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS calendars_by_user ON calendars (user_id);
"""

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Text = Annotated[str, Meta(max_length=10_000)]
Color = Annotated[str, Meta(pattern=r"^#[0-9a-fA-F]{6}$", max_length=7, description="#rrggbb")]
Visibility = Literal["private", "public", "confidential"]
ClientId = Annotated[int, Meta(ge=1, le=2**31 - 1)]
UserId = Annotated[int, Meta(ge=0, le=2**53 - 1)] | Annotated[str, Meta(min_length=1, max_length=255)]


class Timezone(Struct, forbid_unknown_fields=True):
    """`tzdata` is an RFC 5545 VTIMEZONE, for zones that have no IANA name."""

    id: Annotated[str, Meta(min_length=1, max_length=100)]
    name: Annotated[str, Meta(max_length=100)] | None = None
    tzdata: Text | None = None


class Calendar(Struct, rename="camel"):
    id: int
    user_id: str
    name: str
    description: str | None
    color: str | None
    is_primary: bool
    visibility: Visibility
    timezone: Timezone | None
    created_at: datetime
    updated_at: datetime


class CalendarPage(Page[Calendar]): ...


class NewCalendar(Struct, rename="camel", forbid_unknown_fields=True):
    """`id` is made here unless the client brings a free one; only an admin may name another `userId`."""

    name: Name
    id: ClientId | None = None
    user_id: UserId | None = None
    description: Text | None = None
    color: Color | None = None
    is_primary: bool = False
    visibility: Visibility = "private"
    timezone: Timezone | None = None


class CalendarChange(Struct, rename="camel", forbid_unknown_fields=True):
    name: Name | UnsetType = UNSET
    description: Text | UnsetType | None = UNSET
    color: Color | UnsetType | None = UNSET
    is_primary: bool | UnsetType = UNSET
    visibility: Visibility | UnsetType = UNSET
    timezone: Timezone | UnsetType | None = UNSET


class IdTaken(Conflict):
    kind = "id-taken"


@dataclass(frozen=True, slots=True)
class Calendars:
    """The calendars of the caller; an admin's reach is everybody's. What is out of reach is NotFound."""

    store: Store

    async def page(self, caller: Caller, window: Window) -> CalendarPage:
        reach = [caller.is_admin, caller.user_id]

        def work(db: sqlite3.Connection) -> CalendarPage:
            total = db.execute("SELECT count(*) FROM calendars WHERE ? OR user_id = ?", reach).fetchone()[0]
            rows = db.execute(
                "SELECT * FROM calendars WHERE ? OR user_id = ? ORDER BY id LIMIT ? OFFSET ?",
                [*reach, window.limit, window.offset],
            )
            return CalendarPage([_calendar(row) for row in rows], total, window.limit, window.offset)

        return await self.store.run(work)

    async def get(self, caller: Caller, calendar_id: int) -> Calendar:
        return await self.store.run(lambda db: reachable(db, caller, calendar_id))

    async def add(self, caller: Caller, new: NewCalendar) -> Calendar:
        """Errors: NotAllowed (another owner's name), IdTaken."""
        owner = _owner(caller, new)
        now = datetime.now(UTC)

        def work(db: sqlite3.Connection) -> Calendar:
            if new.id is not None and db.execute("SELECT 1 FROM calendars WHERE id = ?", [new.id]).fetchone():
                raise IdTaken("there is a calendar with this id")
            calendar_id = db.execute(
                "INSERT INTO calendars (id, user_id, name, is_primary, visibility, created_at, updated_at)"
                " VALUES (?, ?, '', 0, '', ?, 0) RETURNING id",
                [new.id, owner, to_micros(now)],
            ).fetchone()[0]
            made = Calendar(
                id=calendar_id,
                user_id=owner,
                name=new.name,
                description=new.description,
                color=new.color,
                is_primary=new.is_primary,
                visibility=new.visibility,
                timezone=new.timezone,
                created_at=now,
                updated_at=now,
            )
            return _write(db, made)

        return await self.store.run(work)

    async def change(self, caller: Caller, calendar_id: int, change: CalendarChange) -> Calendar:
        changes = {key: value for key, value in msgspec.structs.asdict(change).items() if value is not UNSET}

        def work(db: sqlite3.Connection) -> Calendar:
            before = reachable(db, caller, calendar_id)
            return _write(db, msgspec.structs.replace(before, **changes, updated_at=datetime.now(UTC)))

        return await self.store.run(work)

    async def remove(self, caller: Caller, calendar_id: int) -> None:
        """Remove a calendar with all its components."""

        def work(db: sqlite3.Connection) -> None:
            reachable(db, caller, calendar_id)
            db.execute("DELETE FROM calendars WHERE id = ?", [calendar_id])

        await self.store.run(work)


def reachable(db: sqlite3.Connection, caller: Caller, calendar_id: int) -> Calendar:
    """Errors: NotFound."""
    row = db.execute(
        "SELECT * FROM calendars WHERE id = ? AND (? OR user_id = ?)", [calendar_id, caller.is_admin, caller.user_id]
    ).fetchone()
    if row is None:
        raise NotFound("there is no such calendar")
    return _calendar(row)


def _owner(caller: Caller, new: NewCalendar) -> str:
    owner = caller.user_id if new.user_id is None else str(new.user_id)
    if owner != caller.user_id and not caller.is_admin:
        raise NotAllowed("a calendar is made for oneself")
    return owner


def _write(db: sqlite3.Connection, calendar: Calendar) -> Calendar:
    if calendar.is_primary:  # each owner has one
        db.execute("UPDATE calendars SET is_primary = 0 WHERE user_id = ?", [calendar.user_id])
    db.execute(
        "UPDATE calendars SET name = ?, description = ?, color = ?, is_primary = ?, visibility = ?, timezone = ?,"
        " updated_at = ? WHERE id = ?",
        [
            calendar.name,
            calendar.description,
            calendar.color,
            calendar.is_primary,
            calendar.visibility,
            None if calendar.timezone is None else msgspec.json.encode(calendar.timezone).decode(),
            to_micros(calendar.updated_at),
            calendar.id,
        ],
    )
    return calendar


def _calendar(row: sqlite3.Row) -> Calendar:
    return Calendar(
        id=row["id"],
        user_id=row["user_id"],
        name=row["name"],
        description=row["description"],
        color=row["color"],
        is_primary=bool(row["is_primary"]),
        visibility=row["visibility"],
        timezone=None if row["timezone"] is None else msgspec.json.decode(row["timezone"], type=Timezone),
        created_at=from_micros(row["created_at"]),
        updated_at=from_micros(row["updated_at"]),
    )
