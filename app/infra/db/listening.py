"""A connection that hears notifications, beside those of the pool.

Facts
- asyncpg does not renew LISTEN after a lost connection, and what was sent meanwhile is gone: whoever listens anew reads
  anew.
- Behind a pooler in transaction mode no notification ever comes; so none may be relied on.
- Channels belong to the database, not to a schema; a hint too many costs one look.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.infra.db.engine import DatabaseOptions, make_engine

LISTEN_TIMEOUT_S = 3

type OnNotice = Callable[[str], None]
"""Is handed the payload, on the event loop; must not block."""


def own_engine(options: DatabaseOptions) -> AsyncEngine:
    """Make an engine of one connection, for who must not wait for the pool."""
    return make_engine(replace(options, pool_size=1, max_overflow=0))


@dataclass(frozen=True, slots=True)
class Listening:
    """`connection` makes a transaction of each statement."""

    connection: AsyncConnection
    _driver: Any  # asyncpg has no types

    async def add(self, channel: str, on_notice: OnNotice) -> None:
        """Errors: TimeoutError, and the driver's own."""
        async with asyncio.timeout(LISTEN_TIMEOUT_S):
            await self._driver.add_listener(channel, lambda _connection, _pid, _channel, payload: on_notice(payload))


@asynccontextmanager
async def listening(engine: AsyncEngine, *, on_lost: Callable[[], None] = lambda: None) -> AsyncIterator[Listening]:
    """Give a connection that listens to what is added, until the block ends; `on_lost` is called when it is gone."""
    async with engine.connect() as connection:
        try:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            driver: Any = (await connection.get_raw_connection()).driver_connection  # Any: as above
            driver.add_termination_listener(lambda _: on_lost())
            yield Listening(connection, driver)
        finally:
            await connection.invalidate()  # never to be used again: it listens
