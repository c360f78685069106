"""An exchange with an upstream for coroutines: the callbacks of `AnswerSink` behind a bounded buffer."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from types import TracebackType
from typing import Self

from app.edge.answer_head import AnswerHead
from app.edge.upstream import UpstreamConnection
from app.edge.upstream_failures import Phase, UpstreamBroken, UpstreamFailure
from app.edge.upstream_sink import DEFAULT_DEADLINES, Deadlines

HIGH_WATER_BYTES = 64 * 1024
LOW_WATER_BYTES = 16 * 1024


class Exchange:
    """Send one request over an acquired connection and read its answer; use it with `async with`.

    Leaving the block, closing `body()` or cancelling any of the waits before the answer's end closes the upstream
    connection at once. One task may send while another reads.
    Errors: every wait raises UpstreamBroken or UpstreamTimedOut.
    Cost: buffers up to HIGH_WATER_BYTES and one read of the answer, and one write buffer of the request.
    """

    __slots__ = ("_buffer", "_buffered_bytes", "_connection", "_failure", "_head", "_reader", "_was_reused", "_writer")

    def __init__(self, connection: UpstreamConnection) -> None:
        self._connection: UpstreamConnection | None = connection
        self._was_reused = False
        self._head: AnswerHead | None = None
        self._failure: UpstreamFailure | None = None
        self._buffer: deque[bytes] = deque()
        self._buffered_bytes = 0
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()

    @property
    def was_reused(self) -> bool:
        """Whether the connection had carried an exchange before; stays true after the end."""
        return self._was_reused

    @property
    def buffered_bytes(self) -> int:
        return self._buffered_bytes

    def begin(
        self,
        method: bytes,
        head: bytes,
        *,
        deadlines: Deadlines = DEFAULT_DEADLINES,
        body_follows: bool = False,
        allows_upgrade: bool = False,
    ) -> None:
        """See `UpstreamConnection.begin`."""
        if self._connection is not None:
            self._connection.begin(
                self, method, head, deadlines=deadlines, body_follows=body_follows, allows_upgrade=allows_upgrade
            )
            self._was_reused = self._connection.was_reused

    async def send(self, framed: bytes) -> bool:
        """Send a piece of the body and wait until the upstream has room for another.

        False once the answer is complete: the upstream wants no more.
        """
        if self._connection is not None:
            self._connection.send(framed)
        while self._connection is not None and not self._connection.is_writable:
            self._writer = asyncio.get_running_loop().create_future()
            await self._wait(self._writer)
        if self._failure is not None:
            raise self._failure
        return self._connection is not None

    def finish(self) -> None:
        """Say that the request is complete."""
        if self._connection is not None:
            self._connection.finish()

    async def head(self) -> AnswerHead:
        """Wait for the final head. A failure known by now is raised even if a head came before it."""
        while self._head is None and self._failure is None:
            self._reader = asyncio.get_running_loop().create_future()
            await self._wait(self._reader)
        if self._failure is not None or self._head is None:
            raise self._failure or self._given_up()
        return self._head

    def allow_idle(self, idle_timeout_s: float) -> None:
        """See `UpstreamConnection.allow_idle`."""
        if self._connection is not None:
            self._connection.allow_idle(idle_timeout_s)

    async def body(self) -> AsyncGenerator[bytes]:
        """Yield the body as it comes; it ends without an error only if the answer is complete."""
        try:
            while True:
                while self._buffer:
                    yield self._take()
                if self._failure is not None:
                    raise self._failure
                if self._connection is None:
                    return
                self._reader = asyncio.get_running_loop().create_future()
                await self._wait(self._reader)
        finally:
            self.abort()

    def abort(self) -> None:
        """Give up: close the connection if the answer is not complete, and drop what is buffered."""
        connection, self._connection = self._connection, None
        if (connection is not None or self._buffer) and self._failure is None:
            self._failure = self._given_up()
        self._buffer.clear()
        self._buffered_bytes = 0
        if connection is not None:
            connection.abort()
            self._wake()

    def on_interim(self, head: AnswerHead) -> None:
        """Drop it: ASGI has no message for it."""

    def on_head(self, head: AnswerHead, piece: bytes) -> None:
        self._head = head
        if piece:
            self.on_body(piece)
        else:
            self._wake_reader()

    def on_body(self, piece: bytes) -> None:
        self._buffer.append(piece)
        self._buffered_bytes += len(piece)
        if self._buffered_bytes > HIGH_WATER_BYTES and self._connection is not None:
            self._connection.pause_reading()
        self._wake_reader()

    def on_end(self) -> None:
        self._connection = None
        self._wake()

    def on_broken(self, failure: UpstreamFailure) -> None:
        self._connection, self._failure = None, failure
        self._wake()

    def pause_sending(self) -> None:
        """`send` asks the connection itself."""

    def resume_sending(self) -> None:
        self._wake_writer()

    def _take(self) -> bytes:
        piece = self._buffer.popleft()
        self._buffered_bytes -= len(piece)
        if self._buffered_bytes < LOW_WATER_BYTES and self._connection is not None:
            self._connection.resume_reading()
        return piece

    async def _wait(self, waiter: asyncio.Future[None]) -> None:
        try:
            await waiter
        except asyncio.CancelledError:
            self.abort()
            raise

    def _wake(self) -> None:
        self._wake_reader()
        self._wake_writer()

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _wake_writer(self) -> None:
        if self._writer is not None and not self._writer.done():
            self._writer.set_result(None)

    def _given_up(self) -> UpstreamFailure:
        phase = Phase.HEAD if self._head is None else Phase.BODY
        return UpstreamBroken("this side gave up", phase=phase, sent=True, answered=self._head is not None)
