"""Who has an account, with which role."""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from portico_fleet.refused import Conflict
from portico_fleet.store import Store

SCHEMA = """
CREATE TABLE IF NOT EXISTS accounts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    email TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    created_at_s INTEGER NOT NULL
) STRICT;
"""


class EmailTaken(Conflict):
    kind = "email-taken"


@dataclass(frozen=True, slots=True)
class Account:
    id: int
    email: str
    role: str
    created_at: datetime


def normal_email(email: str) -> str:
    return email.strip().lower()


@dataclass(frozen=True, slots=True)
class Accounts:
    store: Store

    async def add(self, email: str, *, password_hash: str, now_s: int) -> Account:
        """Add somebody with the role every registration gets.

        Errors: EmailTaken.
        """
        return await self.store.run(lambda db: _insert(db, email, "user", password_hash, now_s))

    async def by_email(self, email: str) -> tuple[Account, str] | None:
        """Find an account and its password's hash."""
        row = await self.store.run(
            lambda db: db.execute("SELECT * FROM accounts WHERE email = ?", [normal_email(email)]).fetchone()
        )
        return None if row is None else (_account(row), row["password_hash"])

    async def by_id(self, account_id: int) -> Account | None:
        row = await self.store.run(
            lambda db: db.execute("SELECT * FROM accounts WHERE id = ?", [account_id]).fetchone()
        )
        return None if row is None else _account(row)

    def seed_admin(self, email: str, *, hashed: Callable[[], str], now_s: int) -> None:
        """Make sure there is an account of that email; one that exists keeps its role and its password."""

        def work(db: sqlite3.Connection) -> None:
            if db.execute("SELECT 1 FROM accounts WHERE email = ?", [normal_email(email)]).fetchone() is None:
                _insert(db, email, "admin", hashed(), now_s)

        self.store.run_now(work)


def _insert(db: sqlite3.Connection, email: str, role: str, password_hash: str, now_s: int) -> Account:
    try:
        row = db.execute(
            "INSERT INTO accounts (email, role, password_hash, created_at_s) VALUES (?, ?, ?, ?) RETURNING *",
            [normal_email(email), role, password_hash, now_s],
        ).fetchone()
    except sqlite3.IntegrityError as fact:
        raise EmailTaken("there is an account with this email") from fact
    return _account(row)


def _account(row: sqlite3.Row) -> Account:
    return Account(
        id=row["id"],
        email=row["email"],
        role=row["role"],
        created_at=datetime.fromtimestamp(row["created_at_s"], UTC),
    )
