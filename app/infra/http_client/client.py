"""Our own calls out: one pooled client with named timeouts and bounded answers. The only module that knows httpx2.

What does not go through here: proxied requests (`edge/upstream.py`) and the model SDKs, which bring their own client.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Self

import httpx2

from app.infra.http_client.egress import Network, aim

MAX_CONNECTIONS = 100
MAX_ANSWER_BYTES = 4 * 1024**2


class CallFailed(OSError):
    """No usable answer came: refused, broken off, too late or too large. The message is for the log."""


@dataclass(frozen=True, slots=True)
class CallTimeouts:
    """Seconds: to connect, and between two bytes of the answer."""

    connect_s: float = 2
    answer_s: float = 30


JWKS_TIMEOUTS = CallTimeouts(connect_s=2, answer_s=3)
HOOK_TIMEOUTS = CallTimeouts(connect_s=2, answer_s=5)
FLEET_TIMEOUTS = CallTimeouts(connect_s=2, answer_s=35)


@dataclass(frozen=True, slots=True)
class CallAnswer:
    """Any status is an answer; `body` is complete."""

    status: int
    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class CallHead:
    """Any status is an answer; what follows its head was not read."""

    status: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class HttpClient:
    """Concurrency: one per process, safe from many tasks. Follows no redirect and reads no proxy from the environment.

    `call` is for URLs of the settings; what anybody else named goes through `call_outside`, which has a client of its
    own that keeps no connection: one that was opened for a name must not carry a request for another at its address.
    """

    _client: httpx2.AsyncClient = field(repr=False)
    _guarded: httpx2.AsyncClient = field(repr=False)

    @classmethod
    def open(cls) -> Self:
        limits = httpx2.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=20, keepalive_expiry=4)
        single = httpx2.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=0)
        return cls(
            httpx2.AsyncClient(limits=limits, trust_env=False, follow_redirects=False),
            httpx2.AsyncClient(limits=single, trust_env=False, follow_redirects=False),
        )

    async def aclose(self) -> None:
        await self._client.aclose()
        await self._guarded.aclose()

    async def call(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str | Sequence[str]] | None = None,
        timeouts: CallTimeouts = CallTimeouts(),
        limit_bytes: int = MAX_ANSWER_BYTES,
    ) -> CallAnswer:
        """Send one request and read the whole answer. Errors: CallFailed."""
        request = _Outgoing(method, url, url, body, dict(headers or {}), query)
        return await _send(self._client, request, timeouts=timeouts, limit_bytes=limit_bytes)

    async def call_outside(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str | Sequence[str]] | None = None,
        networks: Sequence[Network] = (),
        timeouts: CallTimeouts = CallTimeouts(),
        limit_bytes: int = MAX_ANSWER_BYTES,
    ) -> CallAnswer:
        """Send one request to an address on the public network, or on one of `networks`.

        Errors: EgressRefused, CallFailed.
        """
        request = await _guarded(_Outgoing(method, url, url, body, headers or {}, query), networks)
        return await _send(self._guarded, request, timeouts=timeouts, limit_bytes=limit_bytes)

    async def tell(
        self, url: str, *, body: bytes, headers: Mapping[str, str], timeouts: CallTimeouts = HOOK_TIMEOUTS
    ) -> CallHead:
        """Post something and give the head of the answer as soon as it is there, whatever follows it.

        For who must know that it was taken, and nothing else. Errors: CallFailed.
        """
        return await _tell(self._client, _Outgoing("POST", url, url, body, headers, None), timeouts)

    async def tell_outside(
        self,
        url: str,
        *,
        body: bytes,
        headers: Mapping[str, str],
        networks: Sequence[Network] = (),
        timeouts: CallTimeouts = HOOK_TIMEOUTS,
    ) -> CallHead:
        """Do the same to an address on the public network, or on one of `networks`.

        Errors: EgressRefused, CallFailed.
        """
        request = await _guarded(_Outgoing("POST", url, url, body, headers, None), networks)
        return await _tell(self._guarded, request, timeouts)

    async def fetch(self, url: str) -> bytes:
        """Get a small document, as keys are. Errors: CallFailed, for any status but 200 too."""
        answer = await self.call("GET", url, timeouts=JWKS_TIMEOUTS, limit_bytes=256 * 1024)
        if answer.status != 200:
            raise CallFailed(f"GET {url}: status {answer.status}")
        return answer.body

    async def post_json(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Post a JSON document and tell the status. Errors: CallFailed."""
        sent = {"content-type": "application/json", **headers}
        return (await self.call("POST", url, body=body, headers=sent, timeouts=HOOK_TIMEOUTS)).status


@dataclass(frozen=True, slots=True)
class _Outgoing:
    """A request; `named` is the URL it is known by, `url` the one it is sent to."""

    method: str
    named: str
    url: str
    body: bytes | None
    headers: Mapping[str, str]
    query: Mapping[str, str | Sequence[str]] | None
    extensions: Mapping[str, str] = field(default_factory=dict)


async def _guarded(request: _Outgoing, networks: Sequence[Network]) -> _Outgoing:
    """Send it to the address that was looked at, under the host's own name. Errors: EgressRefused."""
    target = await aim(request.url, networks=networks)
    sent = {name: value for name, value in request.headers.items() if name.lower() != "host"}
    sent["host"] = target.authority
    return replace(request, url=target.url, headers=sent, extensions={"sni_hostname": target.host})


async def _send(
    client: httpx2.AsyncClient, request: _Outgoing, *, timeouts: CallTimeouts, limit_bytes: int
) -> CallAnswer:
    async with _sent(client, request, timeouts) as answer:
        return CallAnswer(answer.status_code, await _read(answer, limit_bytes), dict(answer.headers))


async def _tell(client: httpx2.AsyncClient, request: _Outgoing, timeouts: CallTimeouts) -> CallHead:
    async with _sent(client, request, timeouts) as answer:
        return CallHead(answer.status_code, dict(answer.headers))


@asynccontextmanager
async def _sent(
    client: httpx2.AsyncClient, request: _Outgoing, timeouts: CallTimeouts
) -> AsyncIterator[httpx2.Response]:
    timeout = httpx2.Timeout(timeouts.answer_s, connect=timeouts.connect_s, pool=timeouts.connect_s)
    # httpx2 replaces the URL's own query by an empty `params`
    params = {name: value if isinstance(value, str) else list(value) for name, value in (request.query or {}).items()}
    try:
        async with client.stream(
            request.method,
            request.url,
            content=request.body,
            headers=dict(request.headers),
            params=params or None,
            timeout=timeout,
            extensions=dict(request.extensions),
        ) as answer:
            yield answer
    except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
        raise CallFailed(f"{request.method} {request.named}: {type(error).__name__}: {error}") from error


async def _read(answer: httpx2.Response, limit_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in answer.aiter_bytes():
        size += len(part)
        if size > limit_bytes:
            raise CallFailed(f"{answer.url}: the answer is larger than {limit_bytes} bytes")
        parts.append(part)
    return b"".join(parts)
