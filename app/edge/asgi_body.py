"""What a client still sends of one request over ASGI: read ahead a little, counted, with deadlines.

One task alone calls `receive()`, for the whole exchange: that is how a client that vanishes is noticed in every phase,
also before the first byte. It stands still only while READ_AHEAD_BYTES wait for an upstream that does not take them;
the upstream's write deadline bounds that.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field

from app.edge.asgi_client import Client, ClientGone, Message, Receive
from app.edge.chunked import LAST_CHUNK, chunk
from app.edge.faults import BodyTooLarge, HeadMalformed, RequestTooSlow
from app.edge.pipeline import EdgeOptions
from app.edge.proxy import BodyFraming, declared_bytes, framing_of
from app.edge.record import Record
from app.edge.upstream_exchange import Exchange

READ_AHEAD_BYTES = 64 * 1024


@dataclass(slots=True)
class RequestBody:
    """The body of a request on its way to an upstream. Everything wrong with it is raised by `pump`.

    Cost: holds up to READ_AHEAD_BYTES and one message of the server.
    """

    client: Client
    limit_bytes: int
    options: EdgeOptions
    receive: Receive
    framing: BodyFraming = field(init=False)
    is_started: bool = False
    """a byte of it was given to an upstream: it cannot be sent again"""
    _pieces: deque[bytes] = field(default_factory=deque)
    _held_bytes: int = 0
    _waited_s: float = 0
    _is_whole: bool = field(init=False)
    _is_unwanted: bool = False
    _has_changed: asyncio.Event = field(default_factory=asyncio.Event)
    _has_room: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.framing = framing_of(self.record)
        self._is_whole = self.is_empty

    @property
    def is_empty(self) -> bool:
        """Whether the head alone is the whole request."""
        return declared_bytes(self.record, self.framing) == 0

    @property
    def record(self) -> Record:
        return self.client.record

    async def pump(self) -> None:
        """Read until the client is gone. Errors: ClientGone, RequestTooSlow, BodyTooLarge, HeadMalformed."""
        while True:
            message = await self._next_message()
            if message["type"] == "http.disconnect":
                raise ClientGone
            self._take(message.get("body", b""), is_last=not message.get("more_body", False))
            while self._held_bytes >= READ_AHEAD_BYTES:
                self._has_room.clear()
                await self._has_room.wait()

    async def send_to(self, exchange: Exchange) -> None:
        """Frame and send the whole body, or as much of it as the upstream wants. Errors: UpstreamFailure."""
        is_chunked = self.framing is BodyFraming.CHUNKED
        while (piece := await self._next_piece()) is not None:
            if not await exchange.send(chunk(piece) if is_chunked else piece):
                self._discard()
                return
        if is_chunked:
            await exchange.send(LAST_CHUNK)
        exchange.finish()

    async def _next_message(self) -> Message:
        """Wait under the deadline, but for the client's end, and while an answer goes out, which has its own."""
        loop = asyncio.get_running_loop()
        while not (self._is_whole or self._is_unwanted or self.client.is_started):
            begun_s = loop.time()
            try:
                async with asyncio.timeout(self.options.body_idle_s):
                    return await self.receive()
            except TimeoutError:
                if not self.client.is_started:
                    raise _too_slow(f"No byte of the body came for {self.options.body_idle_s:g} s.") from None
            finally:
                self._waited_s += loop.time() - begun_s
        return await self.receive()

    def _take(self, piece: bytes, *, is_last: bool) -> None:
        if self._is_unwanted:
            return
        self._count(piece, is_last=is_last)
        if piece:
            self._pieces.append(piece)
            self._held_bytes += len(piece)
        self._is_whole = is_last
        self._has_changed.set()

    def _count(self, piece: bytes, *, is_last: bool) -> None:
        self.record.bytes_in += len(piece)
        if self.record.bytes_in > self.limit_bytes:
            raise BodyTooLarge(f"This route takes bodies of up to {self.limit_bytes} bytes.")
        declared = declared_bytes(self.record, self.framing)
        if declared is not None and (self.record.bytes_in > declared or (is_last and self.record.bytes_in < declared)):
            raise HeadMalformed("The body is not as long as the head says.")
        is_slow = self.record.bytes_in < self._waited_s * self.options.body_min_bytes_per_s
        if is_slow and self._waited_s > self.options.body_idle_s and not (is_last or self.client.is_started):
            raise _too_slow(f"The body came with less than {self.options.body_min_bytes_per_s} bytes a second.")

    async def _next_piece(self) -> bytes | None:
        """Wait for a piece; None behind the last one."""
        while not self._pieces:
            if self._is_whole:
                return None
            self._has_changed.clear()
            await self._has_changed.wait()
        self.is_started = True
        piece = self._pieces.popleft()
        self._held_bytes -= len(piece)
        self._has_room.set()
        return piece

    def _discard(self) -> None:
        """Throw away the rest: the upstream has answered without it."""
        self._is_unwanted = True
        self._pieces.clear()
        self._held_bytes = 0
        self._has_room.set()


def _too_slow(detail: str) -> RequestTooSlow:
    # RFC 9110 §15.5.9: the connection ends, since what comes on it next would be the rest of this body
    return RequestTooSlow(detail, headers={"connection": "close"})
