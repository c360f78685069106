"""The desk of keyed requests: one try at a time works, the others wait for its answer.

What lives here: the port, and the rules. What does not: ASGI (`idempotency.py`) and SQL. The rules as clients see them:
- what was done (an answer of 2xx) is kept and given again;
- what was refused or failed is forgotten: the key is as if it had never been used, so that it may be sent again;
- where it is not known what became of it (a crash, a bug, a database that is away), the next try is the same request:
  what an earlier one has made is found by its receipt (`kernel/keyed_requests.py`), not made twice.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol
from uuid import UUID

import structlog

from app.kernel.errors import Unavailable
from app.kernel.ids import UserId
from app.kernel.keyed_requests import (
    Answered,
    Claim,
    IdempotencyMismatch,
    KeptAnswer,
    KeyedRequest,
    Mismatched,
    RequestUnderWay,
    Taken,
    UnderWay,
)

RENEW_S = 3
SWEEP_S = 600
PATIENCE_S = 15
"""Longer than a hold lasts: whoever asks again after a crash is served within this one request."""
LONGEST_POLL_S = 0.5
FIRST_POLL_S = 0.02
MAX_WAITING = 200
RETRY_AFTER_S = 2

log = structlog.get_logger()


class KeyedRequestStore(Protocol):
    """What is known of each caller's keys, for a day. Errors: StorageUnavailable from every method."""

    async def claim(self, owner: UserId, key: str, digest: bytes) -> Claim:
        """Take the request for this try, unless another one works on it or it was answered.

        A hold that was neither renewed nor given back for ten seconds counts for nothing.
        """
        ...

    async def renew(self, holds: Mapping[UUID, UUID]) -> None:
        """Keep holds, by the ids of their requests, for another ten seconds."""
        ...

    async def answer(self, request: KeyedRequest, answer: KeptAnswer) -> None:
        """Keep the answer; the first one stays."""
        ...

    async def release(self, taken: Taken) -> None:
        """Let the next try have it, as the same request. Nothing happens when the hold was lost."""
        ...

    async def forget(self, taken: Taken) -> None:
        """Make the key one that was never used. Nothing happens when the hold was lost."""
        ...

    async def sweep(self) -> None:
        """Remove what is older than a day."""
        ...


class Outcome(Enum):
    DONE = auto()
    REFUSED = auto()
    UNKNOWN = auto()


_UNKNOWN_REASONS = frozenset({"internal", "storage_unavailable"})


def outcome_of(status: int, reason: str) -> Outcome:
    """Tell from an answer what became of its request; `reason` is that of the request's record."""
    if status < 400:
        return Outcome.DONE
    return Outcome.UNKNOWN if reason in _UNKNOWN_REASONS else Outcome.REFUSED


@dataclass(slots=True)
class KeyedRequests:
    """Concurrency: one per process; any number of requests at once, of which `MAX_WAITING` may wait for others."""

    store: KeyedRequestStore
    patience_s: float = PATIENCE_S
    _holds: dict[UUID, UUID] = field(default_factory=dict)
    _waiting: int = 0

    async def claim(self, owner: UserId, key: str, digest: bytes, *, may_join: bool) -> Taken | UnderWay | Answered:
        """Take the request, or get its answer, waiting for another try of it; `may_join` does not wait for that.

        Errors: IdempotencyMismatch, RequestUnderWay, StorageUnavailable.
        """
        loop = asyncio.get_running_loop()
        end_s, wait_s = loop.time() + self.patience_s, FIRST_POLL_S
        while True:
            claim = await self.store.claim(owner, key, digest)
            if isinstance(claim, Mismatched):
                raise IdempotencyMismatch("Take a new key for each request; the same one is for sending it again.")
            if may_join or not isinstance(claim, UnderWay):
                return claim
            if self._waiting >= MAX_WAITING or loop.time() + wait_s > end_s:
                raise RequestUnderWay(
                    "It has not been answered yet; send it again, with the same key.",
                    headers={"retry-after": str(RETRY_AFTER_S)},
                )
            await self._wait(wait_s)
            wait_s = min(LONGEST_POLL_S, wait_s * 1.5)

    @asynccontextmanager
    async def holding(self, claim: Taken | UnderWay) -> AsyncIterator[None]:
        """Keep the hold, if there is one, while the block works; what it leaves unsettled runs out by itself."""
        if isinstance(claim, Taken):
            self._holds[claim.hold] = claim.request.id
        try:
            yield
        finally:
            if isinstance(claim, Taken):
                del self._holds[claim.hold]

    async def settle(self, claim: Taken | UnderWay, outcome: Outcome, answer: KeptAnswer | None) -> None:
        """Write down what became of it; without an answer to keep, it is asked for again from the use case.

        A database that is away costs the answer, not the request: its hold runs out, and its receipts are there.
        """
        with suppress(Unavailable):
            if outcome is Outcome.DONE and answer is not None:
                await self.store.answer(claim.request, answer)
            elif isinstance(claim, Taken) and outcome is Outcome.REFUSED:
                await self.store.forget(claim)
            elif isinstance(claim, Taken):
                await self.store.release(claim)

    async def keep_holds(self) -> None:
        """Renew every hold of this process; for the background."""
        if not self._holds:
            return
        try:
            await self.store.renew(dict(self._holds))
        except Unavailable:
            log.warning("keyed_requests.not_renewed", holds=len(self._holds))

    async def _wait(self, seconds: float) -> None:
        self._waiting += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self._waiting -= 1
