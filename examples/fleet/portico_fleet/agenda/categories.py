"""Categories: a few that everybody has, and one's own."""

import sqlite3
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta, Struct

from portico_fleet.agenda.calendars import Color, Name, Text
from portico_fleet.caller import Caller
from portico_fleet.paging import Page, Window
from portico_fleet.refused import Conflict, FieldRefused
from portico_fleet.store import Store

SCHEMA = """
CREATE TABLE IF NOT EXISTS categories (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id TEXT,
    name TEXT NOT NULL COLLATE NOCASE,
    color TEXT,
    description TEXT,
    parent_id INTEGER REFERENCES categories (id)
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS categories_by_name ON categories (coalesce(user_id, ''), name);
INSERT OR IGNORE INTO categories (name, color, description) VALUES
    ('Work', '#3366cc', 'Meetings, deadlines, duties'),
    ('Personal', '#ff9900', 'Everything that is nobody else''s business'),
    ('Health', '#109618', 'Sleep, sport, doctors'),
    ('Learning', '#990099', 'Courses, books, practice'),
    ('Family', '#dc3912', 'Those one lives with');
"""


class Category(Struct, rename="camel"):
    """A category of nobody (`userId` null, `isSystem` true) is everybody's."""

    id: int
    user_id: str | None
    name: str
    color: str | None
    description: str | None
    parent_id: int | None
    is_system: bool


class CategoryPage(Page[Category]): ...


class NewCategory(Struct, rename="camel", forbid_unknown_fields=True):
    name: Name
    color: Color | None = None
    description: Text | None = None
    parent_id: Annotated[int, Meta(ge=1, le=2**53 - 1)] | None = None


class NameTaken(Conflict):
    kind = "name-taken"


@dataclass(frozen=True, slots=True)
class Categories:
    store: Store

    async def page(self, caller: Caller, window: Window) -> CategoryPage:
        reach = [caller.is_admin, caller.user_id]
        where = "FROM categories WHERE ? OR user_id IS NULL OR user_id = ?"

        def work(db: sqlite3.Connection) -> CategoryPage:
            total = db.execute(f"SELECT count(*) {where}", reach).fetchone()[0]
            rows = db.execute(f"SELECT * {where} ORDER BY id LIMIT ? OFFSET ?", [*reach, window.limit, window.offset])
            return CategoryPage([_category(row) for row in rows], total, window.limit, window.offset)

        return await self.store.run(work)

    async def add(self, caller: Caller, new: NewCategory) -> Category:
        """Errors: NameTaken, FieldRefused (a parent out of reach)."""

        def work(db: sqlite3.Connection) -> Category:
            if new.parent_id is not None and not is_usable(db, caller, new.parent_id):
                raise FieldRefused("parentId", "no such category")
            try:
                row = db.execute(
                    "INSERT INTO categories (user_id, name, color, description, parent_id) VALUES (?, ?, ?, ?, ?)"
                    " RETURNING *",
                    [caller.user_id, new.name, new.color, new.description, new.parent_id],
                ).fetchone()
            except sqlite3.IntegrityError as fact:
                raise NameTaken("there is a category of this name") from fact
            return _category(row)

        return await self.store.run(work)


def is_usable(db: sqlite3.Connection, caller: Caller, category_id: int) -> bool:
    statement = "SELECT 1 FROM categories WHERE id = ? AND (? OR user_id IS NULL OR user_id = ?)"
    return db.execute(statement, [category_id, caller.is_admin, caller.user_id]).fetchone() is not None


def _category(row: sqlite3.Row) -> Category:
    return Category(
        id=row["id"],
        user_id=row["user_id"],
        name=row["name"],
        color=row["color"],
        description=row["description"],
        parent_id=row["parent_id"],
        is_system=row["user_id"] is None,
    )
