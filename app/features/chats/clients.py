"""The message hook over HTTP: each user message of an exchange, posted to the analytics service ("snapshot").

Facts
- Delivery is out of band: `capture` only appends to a bounded queue, one task drains it in order.
- At least once: what was being sent when the program stops is sent again, and a lost answer leads to a retry.
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import anyio
import msgspec
import structlog

from app.features.chats.ports import Snapshot
from app.kernel.errors import Fault

QUEUE_LIMIT = 1000
ATTEMPTS = 3
TIMEOUT_S = 5.0
RETRY_PAUSE_S = 0.5
LAST_DELIVERY_S = 2.0

_log = structlog.get_logger()


class PostJson(Protocol):
    async def __call__(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Post a JSON body and tell the answer's status.

        Errors: any Fault, or OSError, when no answer came.
        """
        ...


class SnapshotBody(msgspec.Struct, frozen=True):
    """`{"user_id", "message", "chat_id"}`, as the original sent it, and the chat."""

    user_id: str
    message: str
    chat_id: int


@dataclass(frozen=True, slots=True)
class HookCounts:
    delivered: int = 0
    dropped: int = 0
    failed: int = 0


@dataclass(slots=True)
class HttpMessageHook:
    """Concurrency: `capture` from any task of the loop that runs `run`, which one task does."""

    url: str
    post: PostJson
    timeout_s: float = TIMEOUT_S
    retry_pause_s: float = RETRY_PAUSE_S
    counts: HookCounts = field(default_factory=HookCounts, init=False)
    _waiting: deque[Snapshot] = field(default_factory=deque, init=False)
    _arrived: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def capture(self, snapshot: Snapshot) -> None:
        if len(self._waiting) >= QUEUE_LIMIT:
            self._count(dropped=1)
            _log.warning("snapshot.dropped", chat_id=snapshot.chat_id, dropped=self.counts.dropped)
            return
        self._waiting.append(snapshot)
        self._arrived.set()

    async def run(self) -> None:
        try:
            while True:
                await self._arrived.wait()
                await self._drain()
        finally:
            with anyio.move_on_after(LAST_DELIVERY_S, shield=True):
                await self._drain()
            if self._waiting:
                _log.warning("snapshot.abandoned", count=len(self._waiting))

    async def _drain(self) -> None:
        self._arrived.clear()
        while self._waiting:
            await self._deliver(self._waiting[0])
            self._waiting.popleft()

    async def _deliver(self, snapshot: Snapshot) -> None:
        body = msgspec.json.encode(SnapshotBody(snapshot.user_id, snapshot.message, snapshot.chat_id))
        headers = {"content-type": "application/json", "x-request-id": snapshot.request_id}
        reason = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(self.retry_pause_s)
            status, reason = await self._attempt(body, headers)
            if 200 <= status < 300:
                self._count(delivered=1)
                return
            if 400 <= status < 500 and status != 429:
                break  # the same body will be refused again
        self._count(failed=1)
        _log.warning("snapshot.failed", chat_id=snapshot.chat_id, reason=reason, failed=self.counts.failed)

    async def _attempt(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, str]:
        """Post once; status 0 when there was no answer, with the reason in words."""
        try:
            async with asyncio.timeout(self.timeout_s):
                status = await self.post(f"{self.url.rstrip('/')}/v1/snapshot", body, headers)
        except (Fault, OSError) as error:  # TimeoutError is an OSError
            return 0, type(error).__name__
        return status, f"status {status}"

    def _count(self, *, delivered: int = 0, dropped: int = 0, failed: int = 0) -> None:
        now = self.counts
        self.counts = HookCounts(now.delivered + delivered, now.dropped + dropped, now.failed + failed)


class NoMessageHook:
    """What stands in where no service wants to know."""

    def capture(self, snapshot: Snapshot) -> None:
        """Forget it."""

    async def run(self) -> None:
        """Return at once: there is nothing to deliver."""
