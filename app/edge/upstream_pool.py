"""The connections to one endpoint: kept alive, bounded, counted. Choosing among endpoints, health and retries live
elsewhere. All limits are per worker process.
"""

import asyncio
import ssl
from collections import deque
from dataclasses import dataclass

from app.edge.upstream import UpstreamConnection
from app.edge.upstream_failures import ConnectFailed, ConnectRefused, ConnectTimedOut, Phase, PoolExhausted


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an upstream listens: a host and port, or the path of a Unix socket, which wins.

    `server_name` is what the certificate must say where that is not the host; it is needed for TLS over a Unix socket.
    """

    host: str = ""
    port: int = 0
    path: str | None = None
    tls: ssl.SSLContext | None = None
    server_name: str | None = None

    def __str__(self) -> str:
        return self.path if self.path is not None else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class PoolCounts:
    """A moment of the pool; `open` includes connections still being dialled, `connects` is since the start."""

    open: int
    idle: int
    in_use: int
    waiting: int
    connects: int


class UpstreamPool:
    """Lend connections, and get each back from the connection itself at the end of its exchange.

    Whoever acquires a connection must `begin` an exchange on it or `abort` it. `keepalive_s` must be less than the
    upstream's own, so that it is us who close. A slot is a connection object, dialled or not yet, in `_connections`.
    """

    def __init__(
        self, endpoint: Endpoint, *, max_connections: int = 256, max_waiting: int = 1024, keepalive_s: float = 15.0
    ) -> None:
        self.endpoint = endpoint
        self._max_connections = max_connections
        self._max_waiting = max_waiting
        self._keepalive_s = keepalive_s
        self._connections: set[UpstreamConnection] = set()
        self._idle: deque[UpstreamConnection] = deque()
        self._waiters: deque[asyncio.Future[UpstreamConnection]] = deque()
        self._reaper: asyncio.TimerHandle | None = None
        self._connects = 0
        self._is_closed = self._is_retired = False
        self._is_empty = asyncio.Event()
        self._is_empty.set()

    @property
    def counts(self) -> PoolCounts:
        opened, idle = len(self._connections), len(self._idle)
        return PoolCounts(opened, idle, opened - idle, len(self._waiters), self._connects)

    @property
    def load(self) -> int:
        """How many requests are on their way or in line."""
        return len(self._connections) - len(self._idle) + len(self._waiters)

    @property
    def has_room(self) -> bool:
        """Whether there is a connection for one more, or might be one."""
        return bool(self._idle) or len(self._connections) < self._max_connections

    def acquire_nowait(self) -> UpstreamConnection | None:
        """Take the connection that was used last, as the least likely to have been closed, if any is idle."""
        idle, keepalive_s = self._idle, self._keepalive_s
        while idle:
            connection = idle.pop()
            if connection.is_reusable(keepalive_s):
                return connection
            connection.abort()
        return None

    async def acquire(self, *, wait_s: float = 1.0, connect_timeout_s: float = 2.0) -> UpstreamConnection:
        """Take an idle connection, or dial one, or wait in line for either.

        Errors: PoolExhausted, ConnectFailed (ConnectRefused), ConnectTimedOut; nothing was sent.
        Concurrency: cancelled at any point, it leaves no socket and no slot behind.
        """
        connection = self.acquire_nowait() or self._reserve()
        if connection is None:
            connection = await self._wait(wait_s)
        if not connection.is_connected:
            await self._dial(connection, connect_timeout_s)
        return connection

    def retire(self) -> None:
        """Keep no connection any longer than its exchange. Whoever still comes is served."""
        self._is_retired = True
        self._stop_reaper()
        while self._idle:
            self._idle.popleft().abort()

    async def drained(self) -> None:
        """Wait until the last connection is gone; of a pool that is not retired, that may be never."""
        await self._is_empty.wait()

    async def aclose(self) -> None:
        """Cut every exchange and return when the last socket is closed. Drain first."""
        self._is_closed = True
        self._stop_reaper()
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(PoolExhausted("the pool is closed", phase=Phase.WAIT))
        for connection in tuple(self._connections):
            connection.cut("the pool is closed")
        await self._is_empty.wait()

    def _reserve(self) -> UpstreamConnection | None:
        if self._is_closed:
            raise PoolExhausted("the pool is closed", phase=Phase.WAIT)
        if len(self._connections) >= self._max_connections:
            return None
        connection = UpstreamConnection(self._take_back, self._forget)
        self._connections.add(connection)
        self._is_empty.clear()
        return connection

    async def _wait(self, wait_s: float) -> UpstreamConnection:
        if len(self._waiters) >= self._max_waiting:
            raise PoolExhausted("the queue for a connection is full", phase=Phase.WAIT)
        waiter: asyncio.Future[UpstreamConnection] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(wait_s):
                return await waiter
        except TimeoutError as late:
            self._withdraw(waiter)
            raise PoolExhausted(f"no connection became free within {wait_s} s", phase=Phase.WAIT) from late
        except asyncio.CancelledError:
            self._withdraw(waiter)
            raise

    def _withdraw(self, waiter: asyncio.Future[UpstreamConnection]) -> None:
        """Leave the line; what was granted in the same moment goes to the next in it."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)
        if not waiter.done() or waiter.cancelled() or waiter.exception() is not None:
            return
        connection = waiter.result()
        if connection.is_reusable():
            self._take_back(connection)
        else:
            self._discard(connection)

    async def _dial(self, connection: UpstreamConnection, timeout_s: float) -> None:
        self._connects += 1
        try:
            async with asyncio.timeout(timeout_s):
                await dial(self.endpoint, connection)
        except TimeoutError as late:
            self._discard(connection)
            raise ConnectTimedOut(f"{self.endpoint} did not accept in time", phase=Phase.CONNECT) from late
        except (OSError, UnicodeError) as failed:
            self._discard(connection)
            kind = ConnectRefused if isinstance(failed, ConnectionRefusedError) else ConnectFailed
            raise kind(f"{self.endpoint}: {failed}", phase=Phase.CONNECT) from failed
        except asyncio.CancelledError:
            self._discard(connection)
            raise
        if self._is_closed:
            self._discard(connection)
            raise PoolExhausted("the pool is closed", phase=Phase.CONNECT)

    def _take_back(self, connection: UpstreamConnection) -> None:
        """Give an idle connection to the first in line, else keep it."""
        if self._is_closed:
            connection.abort()
            return
        waiter = self._next_waiter() if self._waiters else None
        if waiter is not None:
            waiter.set_result(connection)
            return
        if self._is_retired:
            connection.abort()
            return
        self._idle.append(connection)
        if self._reaper is None:
            self._reaper = asyncio.get_running_loop().call_later(self._keepalive_s, self._reap)

    def _discard(self, connection: UpstreamConnection) -> None:
        connection.abort()
        self._forget(connection)

    def _forget(self, connection: UpstreamConnection) -> None:
        """Free a lost connection's slot, and let the first in line dial in its place."""
        if connection not in self._connections:
            return
        self._connections.remove(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        waiter = None if self._is_closed else self._next_waiter()
        if waiter is not None:
            slot = self._reserve()
            if slot is not None:
                waiter.set_result(slot)
        if not self._connections:
            self._is_empty.set()

    def _next_waiter(self) -> asyncio.Future[UpstreamConnection] | None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                return waiter
        return None

    def _reap(self) -> None:
        """Close what was idle too long; the oldest stand on the left."""
        loop = asyncio.get_running_loop()
        self._reaper = None
        while self._idle and self._idle[0].idle_since + self._keepalive_s <= loop.time():
            self._idle.popleft().abort()
        if self._idle:
            self._reaper = loop.call_at(self._idle[0].idle_since + self._keepalive_s, self._reap)

    def _stop_reaper(self) -> None:
        if self._reaper is not None:
            self._reaper.cancel()
            self._reaper = None


async def dial(at: Endpoint, connection: UpstreamConnection) -> None:
    """Connect. Errors: OSError, UnicodeError (a name that no address can have)."""
    loop = asyncio.get_running_loop()
    name = (at.server_name or at.host) if at.tls is not None else None
    if at.path is not None:
        await loop.create_unix_connection(lambda: connection, at.path, ssl=at.tls, server_hostname=name)
    else:
        await loop.create_connection(lambda: connection, at.host, at.port, ssl=at.tls, server_hostname=name)
