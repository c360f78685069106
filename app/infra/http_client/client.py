"""Our own calls out: one pooled client with named timeouts and bounded answers. The only module that knows httpx2.

What does not go through here: proxied requests (`edge/upstream.py`) and the model SDKs, which bring their own client.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import httpx2

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
class HttpClient:
    """Concurrency: one per process, safe from many tasks. Follows no redirect and reads no proxy from the environment.

    An address that must not be reached is the caller's to refuse; every URL here comes from the settings.
    """

    _client: httpx2.AsyncClient = field(repr=False)

    @classmethod
    def open(cls) -> Self:
        limits = httpx2.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=20, keepalive_expiry=4)
        return cls(httpx2.AsyncClient(limits=limits, trust_env=False, follow_redirects=False))

    async def aclose(self) -> None:
        await self._client.aclose()

    async def call(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        timeouts: CallTimeouts = CallTimeouts(),
        limit_bytes: int = MAX_ANSWER_BYTES,
    ) -> CallAnswer:
        """Send one request and read the whole answer. Errors: CallFailed."""
        timeout = httpx2.Timeout(timeouts.answer_s, connect=timeouts.connect_s, pool=timeouts.connect_s)
        # httpx2 replaces the URL's own query by an empty `params`
        params = dict(query) if query else None
        try:
            async with self._client.stream(
                method, url, content=body, headers=dict(headers or {}), params=params, timeout=timeout
            ) as answer:
                return CallAnswer(answer.status_code, await _read(answer, limit_bytes), dict(answer.headers))
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            raise CallFailed(f"{method} {url}: {type(error).__name__}: {error}") from error

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


async def _read(answer: httpx2.Response, limit_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in answer.aiter_bytes():
        size += len(part)
        if size > limit_bytes:
            raise CallFailed(f"{answer.url}: the answer is larger than {limit_bytes} bytes")
        parts.append(part)
    return b"".join(parts)
