"""Proxying over ASGI: one request to an upstream and its answer back, streaming both ways.

Beside it runs the body's `pump`, which also hears a client leave: its error ends the exchange, in whatever phase, and
the upstream connection is closed at once.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace

from app.edge.answer_head import AnswerHead
from app.edge.asgi_body import RequestBody
from app.edge.asgi_client import Client, ClientGone, Message, Receive
from app.edge.edge import Edge
from app.edge.endpoint import UpstreamEndpoint
from app.edge.faults import ClientTooSlow
from app.edge.gauges import Gauges
from app.edge.headers import returned_headers
from app.edge.proxy import fault_of, head_rest, may_retry, request_head
from app.edge.record import Record
from app.edge.routes import Route
from app.edge.upstream_exchange import Exchange
from app.edge.upstream_failures import UpstreamFailure
from app.edge.upstream_sink import Deadlines
from app.edge.upstreams import Upstream


async def forward(
    edge: Edge,
    record: Record,
    route: Route,
    upstream: Upstream,
    receive: Receive,
    client: Client,
    *,
    http_version: str = "1.1",
) -> None:
    """Carry one request that was let in.

    Errors: any Fault of an upstream, HeadMalformed, ForwardingLoop, ClientGone; the answer may have begun.
    """
    body = RequestBody(client, route.max_body_bytes, edge.options, receive)
    rest = head_rest(
        record,
        route,
        session_cookies=edge.options.session_cookies,
        framing=body.framing,
        version=http_version.encode(),
    )
    record.reason = "proxied"
    upstream.budget.earn()
    try:
        async with beside(body.pump()):
            await _with_one_retry(
                Passage(record, route, upstream, body, client, edge.options.client_write_s, edge.gauges, rest)
            )
    except ClientGone:
        if not client.is_answered:  # else it is the server that says that nothing more is to be received
            raise


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
class Passage:
    """One request on its way: what every step of it needs."""

    record: Record
    route: Route
    upstream: Upstream
    body: RequestBody
    client: Client
    client_write_s: float
    gauges: Gauges
    head_rest: bytes


async def _with_one_retry(passage: Passage) -> None:
    record, upstream = passage.record, passage.upstream
    endpoint = upstream.pick()
    try:
        try:
            await _once(passage, endpoint)
        except UpstreamFailure as failure:
            has_other = upstream.has_other(endpoint)
            is_harmless = may_retry(
                record.method, failure, is_body_started=passage.body.is_started, has_other=has_other
            )
            if not is_harmless or upstream.retries < 1 or passage.client.is_started or not upstream.budget.spend():
                raise
            record.retries += 1
            await _once(passage, upstream.pick(endpoint))
    except UpstreamFailure as failure:
        raise fault_of(failure, upstream.name) from failure


async def _once(passage: Passage, endpoint: UpstreamEndpoint) -> None:
    passage.record.endpoint = endpoint.name
    try:
        await _ask(passage, endpoint)
    except UpstreamFailure as failure:
        endpoint.note_failure(failure)
        raise
    finally:
        endpoint.note_end()


async def _ask(passage: Passage, endpoint: UpstreamEndpoint) -> None:
    record, route, upstream, body = passage.record, passage.route, passage.upstream, passage.body
    connection = await endpoint.pool.acquire(connect_timeout_s=upstream.connect_timeout_s)
    async with Exchange(connection) as exchange:
        head = request_head(record, endpoint.authority, passage.head_rest)
        exchange.begin(record.method, head, deadlines=_deadlines(upstream, route), body_follows=not body.is_empty)
        if body.is_empty:
            await _give_back(exchange, passage, endpoint)
            return
        async with beside(_send_body(body, exchange)):
            await _give_back(exchange, passage, endpoint)


def _deadlines(upstream: Upstream, route: Route) -> Deadlines:
    if route.timeout_s is None:
        return upstream.deadlines
    return replace(upstream.deadlines, response_timeout_s=route.timeout_s)


async def _send_body(body: RequestBody, exchange: Exchange) -> None:
    # whoever reads the answer hears of a failure too, and knows whether an answer came before it
    with suppress(UpstreamFailure):
        await body.send_to(exchange)


async def _give_back(exchange: Exchange, passage: Passage, endpoint: UpstreamEndpoint) -> None:
    """Pass the answer on as it comes. One that is cut stays unfinished towards the client (promise P2)."""
    head = await exchange.head()
    endpoint.note_answer(head.status)
    client = passage.client
    exchange.allow_idle(passage.upstream.idle_timeout_s(head))
    with passage.gauges.streaming(is_stream=head.is_event_stream):
        await _send_in_time(client, _start(head), passage)
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
