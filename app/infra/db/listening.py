"""A connection that hears notifications, beside those of the pool.

Facts
- asyncpg does not renew LISTEN after a lost connection, and what was sent meanwhile is gone: whoever listens anew reads
  anew.
- Behind a pooler in transaction mode no notification ever comes; so none may be relied on.
- Channels belong to the database, not to a schema; a hint too many costs one look.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.infra.db.engine import DatabaseOptions, make_engine

LISTEN_TIMEOUT_S = 3

type OnNotice = Callable[[str], None]
"""Is handed the payload, on the event loop; must not block."""


def own_engine(options: DatabaseOptions) -> AsyncEngine:
    """Make an engine of one connection, for who must not wait for the pool."""
    return make_engine(replace(options, pool_size=1, max_overflow=0))


@asynccontextmanager
async def listening(
    engine: AsyncEngine, channels: Mapping[str, OnNotice], *, on_lost: Callable[[], None] = lambda: None
) -> AsyncIterator[AsyncConnection]:
    """Give a connection, one transaction a statement, that listens to `channels` until the block ends."""
    async with engine.connect() as connection:
        try:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            driver: Any = (await connection.get_raw_connection()).driver_connection  # Any: asyncpg has no types
            driver.add_termination_listener(lambda _: on_lost())
            async with asyncio.timeout(LISTEN_TIMEOUT_S):
                for channel, on_notice in channels.items():
                    await driver.add_listener(channel, _payload_to(on_notice))
            yield connection
        finally:
            await connection.invalidate()  # never to be used again: it listens


def _payload_to(on_notice: OnNotice) -> Callable[[object, int, str, str], None]:
    return lambda _connection, _pid, _channel, payload: on_notice(payload)
