"""How a process hears of withdrawn tokens: on a connection of its own, hinted at by LISTEN and sure by asking.

Facts
- A notification may be lost or never come (`listening.py`). So the counter is read every half second anyway; LISTEN
  only makes that sooner.
- There is no telling what was missed with a lost connection. So a new one listens first and then reads everything
  again. It is renewed every hour, and what expired is let go of.
- A counter that has gone back is another history (a backup was restored): everything is read again.
"""

import asyncio
import time
from collections.abc import Iterable
from typing import Protocol

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.infra.db.engine import Database
from app.infra.db.errors import StorageUnavailable, translated
from app.infra.db.listening import listening, own_engine
from app.infra.db.revocations import CHANNEL, PAGE_ROWS, read_changes, read_in_force, read_number
from app.kernel.revocation import Revocation

POLL_S = 0.5
PAUSE_S = 0.05  # between two readings, however many hints come
READ_TIMEOUT_S = 3
READ_ALL_TIMEOUT_S = 30
RECONNECT_S = 0.5
RENEW_S = 3600

log = structlog.get_logger()


class Listener(Protocol):
    """What hears of revocations; the edge's `Revocations`."""

    def apply(self, changes: Iterable[Revocation]) -> None: ...

    def replace(self, entries: Iterable[Revocation], *, up_to: int) -> None: ...

    def note_heard(self) -> None: ...


class PostgresRevocationFeed:
    """Concurrency: `follow` runs once a process and holds one connection, beside those of the pool."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._is_lost = False

    async def load(self, known: Listener) -> None:
        """Errors: StorageUnavailable."""
        with translated():
            async with self._database.engine.connect() as connection:
                await _read_all(connection, known)

    async def follow(self, known: Listener) -> None:
        engine = own_engine(self._database.options)
        try:
            while True:
                try:
                    with translated():
                        await self._listen(engine, known)
                except StorageUnavailable as lost:
                    self._note_lost(lost)
                    await asyncio.sleep(RECONNECT_S)
        finally:
            await engine.dispose()

    async def _listen(self, engine: AsyncEngine, known: Listener) -> None:
        """Follow until it is time for a new connection."""
        hint = asyncio.Event()
        async with listening(engine) as heard:
            await heard.add(CHANNEL, lambda _: hint.set())
            connection = heard.connection
            seen = await _read_all(connection, known)
            self._note_back()
            end_s = time.monotonic() + RENEW_S
            while time.monotonic() < end_s:
                await _wait(hint, POLL_S)
                hint.clear()
                seen = await _read_on(connection, known, seen)
                await asyncio.sleep(PAUSE_S)

    def _note_lost(self, lost: StorageUnavailable) -> None:
        if not self._is_lost:
            log.warning("revocations.unheard", **lost.evidence)
        self._is_lost = True

    def _note_back(self) -> None:
        if self._is_lost:
            log.info("revocations.heard_again")
        self._is_lost = False


async def _read_all(connection: AsyncConnection, known: Listener) -> int:
    async with asyncio.timeout(READ_ALL_TIMEOUT_S):
        number = await read_number(connection)  # before the rows: what comes between is read twice, not missed
        entries = await read_in_force(connection)
    known.replace(entries, up_to=number)
    known.note_heard()
    return number


async def _read_on(connection: AsyncConnection, known: Listener, seen: int) -> int:
    """Read what changed since `seen`; tell the number it is current as of."""
    async with asyncio.timeout(READ_TIMEOUT_S):
        number = await read_number(connection)
    if number < seen:
        return await _read_all(connection, known)
    while seen < number:
        async with asyncio.timeout(READ_TIMEOUT_S):
            changes = await read_changes(connection, after=seen)
        known.apply(changes)
        seen = changes[-1].number if len(changes) == PAGE_ROWS else max([number, *(one.number for one in changes)])
    known.note_heard()
    return seen


async def _wait(hint: asyncio.Event, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await hint.wait()
    except TimeoutError:
        return
