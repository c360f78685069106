"""A client for libraries that speak a protocol of open answers, as MCP's is: it is handed to them, and they send.

What they cannot do with it: follow a redirect, read a proxy from the environment, take an answer without end, reach a
private address unless that was allowed.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import httpx2

from app.infra.http_client.egress import public_address

MAX_CONNECTIONS = 64
EVENT_STREAM = "text/event-stream"

type HeadersNow = Callable[[], Awaitable[Mapping[str, str]]]


@asynccontextmanager
async def streaming_client(
    *,
    headers: Mapping[str, str],
    headers_now: HeadersNow,
    connect_s: float,
    limit_bytes: int,
    may_be_private: bool,
) -> AsyncGenerator[httpx2.AsyncClient]:
    """Open a client. `headers_now` is asked for each request, in the task that makes it.

    Shapes: an answer has at most `limit_bytes`, but for a stream of events, which has no end: whoever reads one bounds
    each event. Nothing here bounds the time between two bytes: whoever waits does.
    """
    transport = _Bounded(
        httpx2.AsyncHTTPTransport(
            limits=httpx2.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=8, keepalive_expiry=4)
        ),
        limit_bytes,
        may_be_private=may_be_private,
    )
    timeout = httpx2.Timeout(connect_s, read=None)
    async with httpx2.AsyncClient(
        transport=transport,
        headers=dict(headers),
        auth=_Now(headers_now),
        timeout=timeout,
        trust_env=False,
        follow_redirects=False,
    ) as client:
        yield client


class _Now(httpx2.Auth):
    """Puts on each request what is to be on it at that moment."""

    def __init__(self, headers_now: HeadersNow) -> None:
        self._headers_now = headers_now

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        request.headers.update(await self._headers_now())
        yield request


class _Bounded(httpx2.AsyncBaseTransport):
    def __init__(self, inner: httpx2.AsyncBaseTransport, limit_bytes: int, *, may_be_private: bool) -> None:
        self._inner = inner
        self._limit_bytes = limit_bytes
        self._may_be_private = may_be_private

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        pinned = request if self._may_be_private else await _pinned(request)
        answer = await self._inner.handle_async_request(pinned)
        is_endless = answer.headers.get("content-type", "").startswith(EVENT_STREAM)
        if not is_endless and isinstance(answer.stream, httpx2.AsyncByteStream):
            answer.stream = _BoundedStream(answer.stream, self._limit_bytes)
        return answer

    async def aclose(self) -> None:
        await self._inner.aclose()


async def _pinned(request: httpx2.Request) -> httpx2.Request:
    """Give a request to the address that was looked at, under the host's own name. Errors: httpx2.ConnectError."""
    host, port = request.url.host, request.url.port or (443 if request.url.scheme == "https" else 80)
    try:
        address = await public_address(host, port)
    except (OSError, TimeoutError) as error:
        raise httpx2.ConnectError(str(error), request=request) from error
    return httpx2.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": host},
    )


class _BoundedStream(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream, limit_bytes: int) -> None:
        self._inner = inner
        self._left_bytes = limit_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._inner:
            self._left_bytes -= len(piece)
            if self._left_bytes < 0:
                raise httpx2.ReadError("the answer is larger than it may be")
            yield piece

    async def aclose(self) -> None:
        await self._inner.aclose()
