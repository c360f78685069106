"""A run's events as an answer of server-sent events: as they come, until the last word, the reader or the process goes.

Facts
- A reader that connects again sends the id of the last event it has (WHATWG HTML §9.2.3), so an end is never a loss.
- nginx holds an answer back in buffers unless it says `X-Accel-Buffering: no`.
- Litestar's own streaming answers swallow a body that was not read before; handlers that give one of ours have read it.

Rule: nothing here takes anything of the request's scope, which stays open as long as the stream does.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, override

from litestar import Request, Response
from litestar.response.base import ASGIResponse

from app.edge.asgi_client import ClientGone, Receive, Scope, Send
from app.edge.record import Record
from app.features.runs.schemas import event_json
from app.infra.db.errors import StorageUnavailable
from app.infra.events.ports import ReaderTooSlow, RunEvent
from app.infra.wire import sse
from app.surfaces.streams.open_streams import Ending, OpenStreams

ROOM_BYTES = 64 * 1024
"""encoded and not sent yet; what waits behind it waits in the event log's own bounded queue"""
RETRY_MS = 1000
_HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}
_WORDS = {
    Ending.DRAINED: "this server is about to stop; read on from event {seq}",
    Ending.TOO_SLOW: "you read too slowly; read on from event {seq}",
    Ending.LOST: "the events cannot be read at the moment; read on from event {seq}",
}

type OnGone = Callable[[], Awaitable[None]]
type Write = Callable[[RunEvent], bytes]
type Farewell = Callable[[Ending, int], bytes]
"""Says why a stream ends, and behind which event."""


async def _nothing() -> None:
    pass


def write_event(event: RunEvent) -> bytes:
    """Write an event as it is; its number is what a reader goes on from."""
    return sse.event(event_json(event), id_=str(event.seq), type_=event.type)


def say_farewell(ending: Ending, seq: int) -> bytes:
    words = _WORDS.get(ending)
    if words is None:
        return b""
    # readers that are all sent away at once come back one after another
    retry_ms = RETRY_MS + random.randrange(RETRY_MS)  # noqa: S311 - no secret
    return sse.comment(words.format(seq=seq), retry_ms=retry_ms)


class EventStream(Response[None]):
    """`on_gone` is called when the reader left before the run was over; `write` says an event in other words, and
    `farewell` the end of a stream that is not the run's.
    """

    def __init__(
        self,
        events: AsyncGenerator[RunEvent],
        streams: OpenStreams,
        *,
        after: int = 0,
        on_gone: OnGone = _nothing,
        headers: dict[str, str] | None = None,
        write: Write = write_event,
        farewell: Farewell = say_farewell,
    ) -> None:
        super().__init__(None, status_code=200, media_type=sse.CONTENT_TYPE, headers={**_HEADERS, **(headers or {})})
        self._flow = EventFlow(events, streams, after, write, farewell)
        self._on_gone = on_gone

    # Any: Litestar's own parameters, most of which are for answers that have a content
    @override
    def to_asgi_response(self, app: Any, request: Request[Any, Any, Any], **_: Any) -> ASGIResponse:
        return _StreamedAnswer(self._flow, self._on_gone, headers=self.headers)


class _StreamedAnswer(ASGIResponse):
    _should_set_content_length = False

    def __init__(self, flow: "EventFlow", on_gone: OnGone, *, headers: dict[str, Any]) -> None:
        super().__init__(status_code=200, media_type=sse.CONTENT_TYPE, headers=headers)
        self._flow = flow
        self._on_gone = on_gone

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # type: ignore[override] # ASGI's types
        await self.start_response(send)  # type: ignore[arg-type] # as above
        if await self._flow.run(receive, send) is Ending.GONE:
            record: Record = scope["state"]["edge_record"]
            record.reason = "client_gone"
            await self._on_gone()


@dataclass(slots=True)
class EventFlow:
    """From the event log to one reader. `seq` is the last event that was taken for it."""

    events: AsyncGenerator[RunEvent]
    streams: OpenStreams
    seq: int = 0
    write: Write = write_event
    farewell: Farewell = say_farewell
    _ending: Ending | None = None
    _waiting: bytearray = field(default_factory=bytearray)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _room: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, receive: Receive, send: Send) -> Ending:
        """Send until there is a reason to end. The stream is ended properly unless the reader is gone."""
        with self.streams.counted("sse", self._wake):
            async with asyncio.TaskGroup() as group:
                others = [group.create_task(self._read()), group.create_task(self._watch(receive))]
                try:
                    ending = await self._write(send)
                except ClientGone:
                    ending = Ending.GONE
                finally:
                    for task in others:
                        task.cancel()
        self.streams.ended["sse", ending] += 1
        return ending

    async def _read(self) -> None:
        try:
            async with aclosing(self.events) as events:
                async for event in events:
                    self._waiting += self.write(event)
                    self.seq = event.seq
                    self._wake.set()
                    if len(self._waiting) > ROOM_BYTES:
                        self._room.clear()
                        await self._room.wait()
        except ReaderTooSlow:
            self._end(Ending.TOO_SLOW)
        except StorageUnavailable:
            self._end(Ending.LOST)
        else:
            self._end(Ending.OVER)

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._end(Ending.GONE)

    def _end(self, ending: Ending) -> None:
        self._ending = self._ending or ending
        self._wake.set()

    async def _write(self, send: Send) -> Ending:
        await send(_piece(sse.HEARTBEAT))  # the head leaves with the first of the body: the reader sees it is let in
        while True:
            if not await self._is_woken():
                await send(_piece(sse.HEARTBEAT))
                continue
            if self._ending is Ending.GONE:
                return Ending.GONE
            if self._waiting:
                piece = bytes(self._waiting)
                self._waiting.clear()
                self._room.set()
                await send(_piece(piece))
            ending = Ending.DRAINED if self.streams.are_to_end and self._ending is None else self._ending
            if ending is not None and not self._waiting:
                await send({**_piece(self.farewell(ending, self.seq)), "more_body": False})
                return ending

    async def _is_woken(self) -> bool:
        try:
            async with asyncio.timeout(self.streams.heartbeat_s):
                await self._wake.wait()
        except TimeoutError:
            return False
        self._wake.clear()
        return True


def _piece(body: bytes) -> dict[str, Any]:  # Any: an ASGI message
    return {"type": "http.response.body", "body": body, "more_body": True}
