"""Components: the events and tasks of a calendar. Who may reach the calendar may reach them."""

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from portico_fleet.agenda.calendars import Text, reachable
from portico_fleet.agenda.categories import is_usable
from portico_fleet.agenda.moments import from_micros, in_utc, to_micros
from portico_fleet.caller import Caller
from portico_fleet.paging import Page, Window
from portico_fleet.refused import FieldRefused, NotFound
from portico_fleet.store import Store

SCHEMA = """
CREATE TABLE IF NOT EXISTS components (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    calendar_id INTEGER NOT NULL REFERENCES calendars (id) ON DELETE CASCADE,
    category_id INTEGER REFERENCES categories (id),
    summary TEXT NOT NULL,
    component_type TEXT NOT NULL,
    description TEXT,
    dtstart INTEGER,
    dtend INTEGER,
    is_recurring INTEGER NOT NULL,
    recurrence_id TEXT,
    status TEXT,
    priority INTEGER,
    has_dependencies INTEGER NOT NULL,
    has_dependent_tasks INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS components_by_calendar ON components (calendar_id, dtstart);
"""

Summary = Annotated[str, Meta(min_length=1, max_length=500)]
Word = Annotated[str, Meta(min_length=1, max_length=32, pattern=r"^[A-Za-z][A-Za-z_-]*$")]
RecurrenceId = Annotated[str, Meta(max_length=200)]
Priority = Annotated[int, Meta(ge=0, le=9, description="RFC 5545 §3.8.1.9: 1 is highest, 0 undefined")]
RowId = Annotated[int, Meta(ge=1, le=2**53 - 1)]


class Component(Struct, rename="camel"):
    id: int
    calendar_id: int
    category_id: int | None
    summary: str
    component_type: str
    description: str | None
    dtstart: datetime | None
    dtend: datetime | None
    is_recurring: bool
    recurrence_id: str | None
    status: str | None
    priority: int | None
    has_dependencies: bool
    has_dependent_tasks: bool
    created_at: datetime
    updated_at: datetime


class ComponentPage(Page[Component]): ...


class NewComponent(Struct, rename="camel", forbid_unknown_fields=True):
    """Times without an offset are taken as UTC."""

    calendar_id: RowId
    summary: Summary
    component_type: Word = "event"
    category_id: RowId | None = None
    description: Text | None = None
    dtstart: datetime | None = None
    dtend: datetime | None = None
    is_recurring: bool = False
    recurrence_id: RecurrenceId | None = None
    status: Word | None = None
    priority: Priority | None = None
    has_dependencies: bool = False
    has_dependent_tasks: bool = False


class ComponentChange(Struct, rename="camel", forbid_unknown_fields=True):
    calendar_id: RowId | UnsetType = UNSET
    summary: Summary | UnsetType = UNSET
    component_type: Word | UnsetType = UNSET
    category_id: RowId | UnsetType | None = UNSET
    description: Text | UnsetType | None = UNSET
    dtstart: datetime | UnsetType | None = UNSET
    dtend: datetime | UnsetType | None = UNSET
    is_recurring: bool | UnsetType = UNSET
    recurrence_id: RecurrenceId | UnsetType | None = UNSET
    status: Word | UnsetType | None = UNSET
    priority: Priority | UnsetType | None = UNSET
    has_dependencies: bool | UnsetType = UNSET
    has_dependent_tasks: bool | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class Range:
    """A stretch of time, its end excluded, perhaps of one calendar only."""

    since: datetime
    until: datetime
    calendar_id: int | None


@dataclass(frozen=True, slots=True)
class Components:
    store: Store

    async def in_range(self, caller: Caller, wanted: Range, window: Window) -> ComponentPage:
        """Find what overlaps the range, in order of time; without a start the end (a due date) counts as both."""
        values = {
            "admin": caller.is_admin,
            "user": caller.user_id,
            "since": to_micros(wanted.since),
            "until": to_micros(wanted.until),
            "calendar": wanted.calendar_id,
            "limit": window.limit,
            "offset": window.offset,
        }

        def work(db: sqlite3.Connection) -> ComponentPage:
            rows = db.execute(_IN_RANGE, values).fetchall()
            total = db.execute(_COUNT_IN_RANGE, values).fetchone()[0]
            return ComponentPage([_component(row) for row in rows], total, window.limit, window.offset)

        return await self.store.run(work)

    async def get(self, caller: Caller, component_id: int) -> Component:
        return await self.store.run(lambda db: _reachable(db, caller, component_id))

    async def add(self, caller: Caller, new: NewComponent) -> Component:
        """Errors: NotFound (the calendar), FieldRefused."""
        now = datetime.now(UTC)

        def work(db: sqlite3.Connection) -> Component:
            reachable(db, caller, new.calendar_id)
            made = _checked(db, caller, Component(id=0, created_at=now, updated_at=now, **msgspec.structs.asdict(new)))
            return msgspec.structs.replace(made, id=db.execute(_INSERT, _values(made)).fetchone()[0])

        return await self.store.run(work)

    async def change(self, caller: Caller, component_id: int, change: ComponentChange) -> Component:
        """Errors: NotFound (the component, or the calendar it should move to), FieldRefused."""
        changes = {key: value for key, value in msgspec.structs.asdict(change).items() if value is not UNSET}

        def work(db: sqlite3.Connection) -> Component:
            before = _reachable(db, caller, component_id)
            after = msgspec.structs.replace(before, **changes, updated_at=datetime.now(UTC))
            reachable(db, caller, after.calendar_id)
            after = _checked(db, caller, after)
            db.execute(_UPDATE, _values(after))
            return after

        return await self.store.run(work)

    async def remove(self, caller: Caller, component_id: int) -> None:
        def work(db: sqlite3.Connection) -> None:
            _reachable(db, caller, component_id)
            db.execute("DELETE FROM components WHERE id = ?", [component_id])

        await self.store.run(work)


_OVERLAP = """
FROM components AS c JOIN calendars AS k ON k.id = c.calendar_id
WHERE (:admin OR k.user_id = :user) AND (:calendar IS NULL OR k.id = :calendar)
AND coalesce(c.dtstart, c.dtend) < :until
AND (coalesce(c.dtend, c.dtstart) > :since OR coalesce(c.dtstart, c.dtend) >= :since)
"""
_COUNT_IN_RANGE = f"SELECT count(*) {_OVERLAP}"
_IN_RANGE = f"SELECT c.* {_OVERLAP} ORDER BY coalesce(c.dtstart, c.dtend), c.id LIMIT :limit OFFSET :offset"
_INSERT = """
INSERT INTO components (calendar_id, category_id, summary, component_type, description, dtstart, dtend, is_recurring,
    recurrence_id, status, priority, has_dependencies, has_dependent_tasks, created_at, updated_at)
VALUES (:calendar_id, :category_id, :summary, :component_type, :description, :dtstart, :dtend, :is_recurring,
    :recurrence_id, :status, :priority, :has_dependencies, :has_dependent_tasks, :created_at, :updated_at)
RETURNING id
"""
_UPDATE = """
UPDATE components SET calendar_id = :calendar_id, category_id = :category_id, summary = :summary,
    component_type = :component_type, description = :description, dtstart = :dtstart, dtend = :dtend,
    is_recurring = :is_recurring, recurrence_id = :recurrence_id, status = :status, priority = :priority,
    has_dependencies = :has_dependencies, has_dependent_tasks = :has_dependent_tasks, updated_at = :updated_at
WHERE id = :id
"""
_MOMENTS = ("dtstart", "dtend", "created_at", "updated_at")
_FLAGS = ("is_recurring", "has_dependencies", "has_dependent_tasks")


def _reachable(db: sqlite3.Connection, caller: Caller, component_id: int) -> Component:
    row = db.execute(
        "SELECT c.* FROM components AS c JOIN calendars AS k ON k.id = c.calendar_id"
        " WHERE c.id = ? AND (? OR k.user_id = ?)",
        [component_id, caller.is_admin, caller.user_id],
    ).fetchone()
    if row is None:
        raise NotFound("there is no such component")
    return _component(row)


def _checked(db: sqlite3.Connection, caller: Caller, component: Component) -> Component:
    """Check what involves more than one field, and bring the times to UTC."""
    start = None if component.dtstart is None else in_utc(component.dtstart)
    end = None if component.dtend is None else in_utc(component.dtend)
    if start is not None and end is not None and end < start:
        raise FieldRefused("dtend", "before dtstart")
    if component.category_id is not None and not is_usable(db, caller, component.category_id):
        raise FieldRefused("categoryId", "no such category")
    return msgspec.structs.replace(component, dtstart=start, dtend=end)


def _values(component: Component) -> dict[str, str | int | None]:
    values = msgspec.structs.asdict(component)
    moments = {key: None if values[key] is None else to_micros(values[key]) for key in _MOMENTS}
    return {**values, **moments}


def _component(row: sqlite3.Row) -> Component:
    values = {key: row[key] for key in row.keys()}  # noqa: SIM118 -- iterating a Row gives its values
    moments = {key: None if row[key] is None else from_micros(row[key]) for key in _MOMENTS}
    return Component(**{**values, **moments, **{key: bool(row[key]) for key in _FLAGS}})
