"""Connections and transactions on PostgreSQL.

`Database` owns the engine; `begin` and `look` are what use cases get as their ports of these names. Rule: a session
lives inside one such block and nowhere else, so that no connection is held across a wait on someone else.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from math import inf
from typing import Any

from sqlalchemy import event, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from app.infra.db.errors import StorageUnavailable, translated
from app.infra.db.statements import Statement, Statements
from app.kernel.transaction import Tx

STATEMENT_TIMEOUT_S = 5
CONNECT_TIMEOUT_S = 5
TRUSTED_IDLE_S = 1


@dataclass(frozen=True, slots=True)
class DatabaseOptions:
    """Where the database is and how many connections one process may hold; `dsn` holds a password.

    `max_waiting` transactions may wait for a connection: twenty connections work them off in under a second.
    """

    dsn: str = field(repr=False)
    schema: str = "portico"
    pool_size: int = 10
    max_overflow: int = 10
    max_waiting: int = 200
    pool_timeout_s: float = 30
    pool_recycle_s: int = 300


@dataclass(frozen=True, slots=True)
class PostgresTx:
    """The adapter's side of `Tx`."""

    session: AsyncSession


@dataclass(slots=True)
class PostgresLook:
    """The adapter's side of a `Tx` whose statements are transactions of their own; its connection comes with the first.

    What is written for SQLAlchemy goes by the session, what is asked often by the statements: one of them, not both.
    """

    _sessions: async_sessionmaker[AsyncSession]
    statements: Statements
    _session: AsyncSession | None = None

    @property
    def session(self) -> AsyncSession:
        self._session = self._session or self._sessions()
        return self._session

    async def aclose(self) -> None:
        try:
            await self.statements.aclose()
        finally:
            if self._session is not None:
                await self._session.close()


def session_of(tx: Tx) -> AsyncSession:
    """Unwrap the session of a transaction that `Database.begin` opened, or of a look."""
    if not isinstance(tx, PostgresTx | PostgresLook):
        msg = f"a PostgreSQL store needs a PostgreSQL transaction, not {type(tx).__name__}"
        raise TypeError(msg)
    return tx.session


async def rows_of(tx: Tx, statement: Statement, values: Mapping[str, object]) -> Sequence[Sequence[Any]]:
    """Read rows by position: in a look on the driver itself."""
    if isinstance(tx, PostgresLook):
        return (await tx.statements.execute(statement, values)).all()
    return (await session_of(tx).execute(statement, values)).all()


def statements_of(tx: Tx) -> Statements:
    """Unwrap the statements of a look."""
    if not isinstance(tx, PostgresLook):
        msg = f"single statements need a look, not {type(tx).__name__}"
        raise TypeError(msg)
    return tx.statements


class Database:
    """Concurrency: one per process; safe from many tasks; connects on first use."""

    def __init__(self, options: DatabaseOptions) -> None:
        self.options = options
        self.engine = make_engine(options)
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)
        by_statement = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._looks = async_sessionmaker(by_statement, expire_on_commit=False)
        # in front of the pool's own queue, in which newcomers pass those who wait
        self._places = asyncio.Semaphore(options.pool_size + options.max_overflow)
        self._waiting = 0

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Tx]:
        """Errors: StorageUnavailable, at once while too many wait: whoever is let in is served in time."""
        with translated():
            await self._take_place()
            try:
                async with self._sessions() as session, session.begin():
                    yield PostgresTx(session)
            finally:
                self._places.release()

    @asynccontextmanager
    async def look(self) -> AsyncIterator[Tx]:
        """Give a transaction in which each statement is one of its own, and one round trip. Errors: as `begin`."""
        with translated():
            await self._take_place()
            try:
                async with aclosing(PostgresLook(self._looks, Statements(self.engine.sync_engine))) as look:
                    yield look
            finally:
                self._places.release()

    @asynccontextmanager
    async def statements(self) -> AsyncIterator[Statements]:
        """Give a connection on which each statement is a transaction of its own, and one round trip.

        Errors: as `begin`.
        """
        with translated():
            await self._take_place()
            try:
                async with aclosing(Statements(self.engine.sync_engine)) as statements:
                    yield statements
            finally:
                self._places.release()

    async def _take_place(self) -> None:
        """Errors: StorageUnavailable, TimeoutError."""
        if not self._places.locked():
            await self._places.acquire()
            return
        if self._waiting >= self.options.max_waiting:
            raise StorageUnavailable("Too many wait for the database; try again shortly.", headers={"retry-after": "1"})
        self._waiting += 1
        try:
            async with asyncio.timeout(self.options.pool_timeout_s):
                await self._places.acquire()
        finally:
            self._waiting -= 1

    async def health(self) -> str:
        """Prove that a query is answered; tell the server's version. Errors: StorageUnavailable."""
        with translated():
            async with self.engine.connect() as connection:
                version = await connection.scalar(text("SHOW server_version"))
        return f"PostgreSQL {version}, {self.engine.pool.status()}"

    async def aclose(self) -> None:
        await self.engine.dispose()


def make_engine(options: DatabaseOptions) -> AsyncEngine:
    """Build the engine; every connection looks into our schema first and bounds its statements."""
    engine = create_async_engine(
        options.dsn,
        pool_size=options.pool_size,
        max_overflow=options.max_overflow,
        pool_timeout=options.pool_timeout_s,
        pool_recycle=options.pool_recycle_s,
        pool_use_lifo=True,  # the server's process that answered last has everything at hand
        connect_args={
            "timeout": CONNECT_TIMEOUT_S,
            "server_settings": {
                "application_name": "portico",
                "search_path": f"{options.schema},public",
                "statement_timeout": str(int(STATEMENT_TIMEOUT_S * 1000)),
                "idle_in_transaction_session_timeout": "60000",
            },
        },
    )
    event.listen(engine.sync_engine, "checkin", _note_idle)
    event.listen(engine.sync_engine, "checkout", _look_alive)
    return engine


def _note_idle(connection: DBAPIConnection | None, entry: ConnectionPoolEntry) -> None:
    del connection
    entry.info["idle_since_s"] = time.monotonic()


def _look_alive(connection: Any, entry: ConnectionPoolEntry, fairy: object) -> None:  # Any: the driver's own type
    """Replace a connection that died in the pool, before it is used.

    The driver notices a closed socket by itself; asking the server costs three round trips (SQLAlchemy's `pre_ping`
    opens a transaction for it), so it is done only after a pause, when a silent loss is possible and time is at hand.
    """
    del fairy
    if connection.driver_connection.is_closed():
        raise DisconnectionError
    if time.monotonic() - entry.info.get("idle_since_s", inf) > TRUSTED_IDLE_S:
        try:
            connection.ping()
        except (connection.dbapi.Error, OSError) as error:
            raise DisconnectionError from error
