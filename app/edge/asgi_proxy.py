"""Proxying over ASGI: one request to an upstream and its answer back, streaming both ways.

One task alone calls `receive()`, for the whole exchange: that is how a client that vanishes is noticed in every phase,
also before the first byte, and the upstream connection closed at once.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from app.edge.asgi_client import Client, ClientGone, Message, Receive
from app.edge.edge import Edge
from app.edge.faults import BodyTooLarge, ClientTooSlow, HeadMalformed, RequestTooSlow
from app.edge.headers import returned_headers
from app.edge.proxy import BodyFraming, fault_of, may_retry, request_head
from app.edge.record import Record
from app.edge.routes import Route
from app.edge.upstream import LAST_CHUNK, Deadlines, chunk
from app.edge.upstream_answer import AnswerHead
from app.edge.upstream_exchange import Exchange
from app.edge.upstream_failures import UpstreamFailure
from app.edge.upstreams import Upstream
from app.kernel.errors import Fault


async def forward(edge: Edge, record: Record, route: Route, receive: Receive, client: Client) -> None:
    """Carry one request that was let in. Errors: any Fault of an upstream, ClientGone; the answer may have begun."""
    upstream = edge.upstreams[route.upstream or ""]
    body = RequestBody(record, route, receive, idle_s=edge.options.body_idle_s)
    record.reason = "proxied"
    upstream.budget.earn()
    async with beside(body.pump()):
        await _with_one_retry(edge, Passage(record, route, upstream, body, client, edge.options.client_write_s))


@asynccontextmanager
async def beside(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Run `work` beside the block: its error ends the block, the block's end cancels it."""
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(work)
            yield
            task.cancel()
    except BaseExceptionGroup as errors:
        raise _first(errors) from None


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Pick the cause: that the client is gone explains whatever else broke."""
    leaves = [_first(one) if isinstance(one, BaseExceptionGroup) else one for one in group.exceptions]
    return next((one for one in leaves if isinstance(one, ClientGone)), leaves[0])


@dataclass(slots=True)
class RequestBody:
    """What the client still sends: one message at a time, counted, with a deadline between two of them."""

    record: Record
    route: Route
    receive: Receive
    idle_s: float
    is_started: bool = False
    _messages: asyncio.Queue[Message] = field(default_factory=lambda: asyncio.Queue(maxsize=1))

    @property
    def framing(self) -> BodyFraming:
        if self.record.first(b"transfer-encoding") is not None:
            return BodyFraming.CHUNKED
        if self.record.first(b"content-length") is not None:
            return BodyFraming.LENGTH
        return BodyFraming.NONE

    async def pump(self) -> None:
        """Read until the client is gone. Errors: ClientGone, RequestTooSlow."""
        is_complete = False
        while True:
            try:
                async with asyncio.timeout(None if is_complete else self.idle_s):
                    message = await self.receive()
            except TimeoutError:
                raise RequestTooSlow(f"No byte of the body came for {self.idle_s:g} s.") from None
            if message["type"] == "http.disconnect":
                raise ClientGone
            if not is_complete:
                is_complete = not message.get("more_body", False)
                await self._messages.put(message)

    async def send_to(self, exchange: Exchange) -> None:
        """Frame and send the whole body. Errors: BodyTooLarge, HeadMalformed, UpstreamFailure."""
        framing = self.framing
        more = framing is not BodyFraming.NONE
        while more:
            message = await self._messages.get()
            more = message.get("more_body", False)
            piece = message.get("body", b"")
            self._count(piece, is_last=not more)
            if piece and not await exchange.send(chunk(piece) if framing is BodyFraming.CHUNKED else piece):
                return
        if framing is BodyFraming.CHUNKED:
            await exchange.send(LAST_CHUNK)
        exchange.finish()

    def _count(self, piece: bytes, *, is_last: bool) -> None:
        self.is_started = True
        self.record.bytes_in += len(piece)
        if self.record.bytes_in > self.route.max_body_bytes:
            raise BodyTooLarge(f"This route takes bodies of up to {self.route.max_body_bytes} bytes.")
        if self.framing is BodyFraming.LENGTH:
            declared = int(self.record.first(b"content-length") or 0)
            if self.record.bytes_in > declared or (is_last and self.record.bytes_in < declared):
                raise HeadMalformed("The body is not as long as the Content-Length field says.")


@dataclass(slots=True)
class Passage:
    """One request on its way: what every step of it needs."""

    record: Record
    route: Route
    upstream: Upstream
    body: RequestBody
    client: Client
    client_write_s: float


async def _with_one_retry(edge: Edge, passage: Passage) -> None:
    record, upstream = passage.record, passage.upstream
    try:
        try:
            await _once(edge, passage)
        except UpstreamFailure as failure:
            is_harmless = may_retry(record.method, failure, is_body_started=passage.body.is_started)
            if not is_harmless or upstream.retries < 1 or passage.client.is_started or not upstream.budget.spend():
                raise
            record.retries += 1
            await _once(edge, passage)
    except UpstreamFailure as failure:
        raise fault_of(failure, upstream.name) from failure


async def _once(edge: Edge, passage: Passage) -> None:
    record, route, upstream, body = passage.record, passage.route, passage.upstream, passage.body
    record.endpoint = str(upstream.pool.endpoint)
    connection = await upstream.pool.acquire(connect_timeout_s=upstream.connect_timeout_s)
    async with Exchange(connection) as exchange:
        head = request_head(
            record,
            route,
            authority=upstream.authority,
            session_cookies=(edge.options.access_cookie, edge.options.refresh_cookie),
            framing=body.framing,
        )
        has_body = body.framing is not BodyFraming.NONE
        exchange.begin(record.method, head, deadlines=_deadlines(upstream, route), body_follows=has_body)
        if not has_body:
            await _give_back(exchange, passage)
            return
        async with beside(_send_body(body, exchange)):
            await _give_back(exchange, passage)


def _deadlines(upstream: Upstream, route: Route) -> Deadlines:
    if route.timeout_s is None:
        return upstream.deadlines
    return Deadlines(response_timeout_s=route.timeout_s, idle_timeout_s=upstream.deadlines.idle_timeout_s)


async def _send_body(body: RequestBody, exchange: Exchange) -> None:
    try:
        await body.send_to(exchange)
    except UpstreamFailure:
        return  # whoever reads the answer hears of it too, and knows whether an answer came before it
    except Fault:
        exchange.abort()
        raise


async def _give_back(exchange: Exchange, passage: Passage) -> None:
    """Pass the answer on as it comes. One that is cut stays unfinished towards the client (promise P2)."""
    head = await exchange.head()
    client = passage.client
    await client.send(_start(head))
    async for piece in exchange.body():
        await _send_in_time(client, {"type": "http.response.body", "body": piece, "more_body": True}, passage)
    await _send_in_time(client, {"type": "http.response.body", "body": b"", "more_body": False}, passage)


async def _send_in_time(client: Client, message: Message, passage: Passage) -> None:
    try:
        async with asyncio.timeout(passage.client_write_s):
            await client.send(message)
    except TimeoutError:
        raise ClientTooSlow(f"The client took no byte for {passage.client_write_s:g} s.") from None


def _start(head: AnswerHead) -> Message:
    return {
        "type": "http.response.start",
        "status": head.status,
        "headers": returned_headers(head.status, head.headers),
    }
