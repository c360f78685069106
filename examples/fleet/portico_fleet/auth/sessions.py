"""Sessions and their refresh tokens.

A session is a family of refresh tokens of which exactly one may be used next. Using one again that was already
exchanged means that it was copied, and nobody can tell which holder is the thief: the whole session ends (RFC 9700
§4.14.2). Tokens are stored as SHA-256: they are 256 random bits, so a slow hash would add nothing.
"""

import hashlib
import secrets
import sqlite3
from dataclasses import dataclass

from portico_fleet.refused import Unauthenticated
from portico_fleet.store import Store

SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (
    id TEXT PRIMARY KEY,
    account_id INTEGER NOT NULL REFERENCES accounts (id),
    user_agent TEXT NOT NULL,
    ip TEXT NOT NULL,
    created_at_s INTEGER NOT NULL,
    expires_at_s INTEGER NOT NULL,
    ended_at_s INTEGER
) STRICT;
CREATE INDEX IF NOT EXISTS sessions_by_account ON sessions (account_id, expires_at_s);
CREATE TABLE IF NOT EXISTS refresh_tokens (
    digest BLOB PRIMARY KEY,
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    used_at_s INTEGER
) STRICT;
CREATE INDEX IF NOT EXISTS refresh_tokens_by_session ON refresh_tokens (session_id);
"""
_LIVE_PER_ACCOUNT = 100
_USER_AGENT_LIMIT_CHARS = 400


class RefreshRefused(Unauthenticated):
    kind = "refresh-token-invalid"


@dataclass(frozen=True, slots=True)
class Opened:
    """A session, with the one refresh token that may be used next."""

    session_id: str
    account_id: int
    refresh_token: str
    expires_at_s: int


@dataclass(frozen=True, slots=True)
class Sessions:
    store: Store
    ttl_s: int

    async def open(self, account_id: int, *, user_agent: str, ip: str, now_s: int) -> Opened:
        """Open a session; the oldest ones above the limit per account end, and what has expired is forgotten."""
        session_id = secrets.token_hex(16)
        expires_at_s = now_s + self.ttl_s
        row = [session_id, account_id, user_agent[:_USER_AGENT_LIMIT_CHARS], ip, now_s, expires_at_s]

        def work(db: sqlite3.Connection) -> Opened:
            db.execute("DELETE FROM sessions WHERE expires_at_s <= ?", [now_s])
            db.execute("INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, NULL)", row)
            db.execute(
                "UPDATE sessions SET ended_at_s = ? WHERE id IN (SELECT id FROM sessions WHERE account_id = ?"
                " AND ended_at_s IS NULL ORDER BY created_at_s DESC, rowid DESC LIMIT -1 OFFSET ?)",
                [now_s, account_id, _LIVE_PER_ACCOUNT],
            )
            return Opened(session_id, account_id, _add_token(db, session_id), expires_at_s)

        return await self.store.run(work)

    async def rotate(self, token: str, *, now_s: int) -> Opened:
        """Exchange a refresh token for the next one of its session.

        Errors: RefreshRefused; when the token had been exchanged before, its session has ended as well.
        """
        opened = await self.store.run(lambda db: _rotate(db, token, now_s))
        if opened is None:
            raise RefreshRefused("the refresh token is not valid any more: log in again")
        return opened

    async def end_by_token(self, token: str, *, now_s: int) -> bool:
        """End the session this refresh token, used or not, belongs to; tell whether there is one."""
        return await self.store.run(
            lambda db: (
                db.execute(
                    "UPDATE sessions SET ended_at_s = coalesce(ended_at_s, ?)"
                    " WHERE id = (SELECT session_id FROM refresh_tokens WHERE digest = ?)",
                    [now_s, _digest(token)],
                ).rowcount
                > 0
            )
        )

    async def end(self, session_id: str, *, now_s: int) -> None:
        await self.store.run(lambda db: _end(db, session_id, now_s))

    async def end_all(self, account_id: int, *, now_s: int) -> None:
        statement = "UPDATE sessions SET ended_at_s = ? WHERE account_id = ? AND ended_at_s IS NULL"
        await self.store.run(lambda db: db.execute(statement, [now_s, account_id]))

    async def is_live(self, session_id: str, *, now_s: int) -> bool:
        statement = "SELECT 1 FROM sessions WHERE id = ? AND ended_at_s IS NULL AND expires_at_s > ?"
        return await self.store.run(lambda db: db.execute(statement, [session_id, now_s]).fetchone()) is not None

    async def count_live(self, account_id: int, *, now_s: int) -> int:
        statement = "SELECT count(*) FROM sessions WHERE account_id = ? AND ended_at_s IS NULL AND expires_at_s > ?"
        row = await self.store.run(lambda db: db.execute(statement, [account_id, now_s]).fetchone())
        return int(row[0])


def _rotate(db: sqlite3.Connection, token: str, now_s: int) -> Opened | None:
    """Decide and act in one transaction; None instead of an error, so that the ending of a session commits."""
    row = db.execute(
        "SELECT s.*, t.used_at_s FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id WHERE t.digest = ?",
        [_digest(token)],
    ).fetchone()
    if row is None or row["ended_at_s"] is not None or row["expires_at_s"] <= now_s:
        return None
    if row["used_at_s"] is not None:
        _end(db, row["id"], now_s)
        return None
    db.execute("UPDATE refresh_tokens SET used_at_s = ? WHERE digest = ?", [now_s, _digest(token)])
    return Opened(row["id"], row["account_id"], _add_token(db, row["id"]), row["expires_at_s"])


def _end(db: sqlite3.Connection, session_id: str, now_s: int) -> None:
    db.execute("UPDATE sessions SET ended_at_s = ? WHERE id = ? AND ended_at_s IS NULL", [now_s, session_id])


def _add_token(db: sqlite3.Connection, session_id: str) -> str:
    token = secrets.token_urlsafe(32)
    db.execute("INSERT INTO refresh_tokens VALUES (?, ?, NULL)", [_digest(token), session_id])
    return token


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
