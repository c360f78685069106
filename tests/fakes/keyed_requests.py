"""The store of keyed requests, and their receipts, in memory: transactions are serial and roll back."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from uuid import UUID, uuid4

from app.kernel.clock import Clock, SystemClock
from app.kernel.errors import Unavailable
from app.kernel.ids import UserId
from app.kernel.keyed_requests import (
    Answered,
    Claim,
    KeptAnswer,
    KeyedRequest,
    Mismatched,
    RequestSuperseded,
    Taken,
    UnderWay,
)
from app.kernel.transaction import Tx

type Place = tuple[str, str]


@dataclass(frozen=True)
class Row:
    request: KeyedRequest
    hold: UUID | None
    held_until_s: float
    expires_at_s: float
    made: str | None = None
    answer: KeptAnswer | None = None


@dataclass
class FakeKeyedRequests:
    """`is_away` makes it unreachable."""

    life_s: float = 24 * 3600
    lease_s: float = 10
    clock: Clock = field(default_factory=SystemClock)
    is_away: bool = False
    rows: dict[Place, Row] = field(default_factory=dict)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Tx]:
        async with self._lock:
            before = dict(self.rows)
            try:
                yield object()
            except BaseException:
                self.rows.clear()
                self.rows.update(before)
                raise

    async def claim(self, owner: UserId, key: str, digest: bytes) -> Claim:
        now_s = self._asked()
        async with self._lock:
            row = self.rows.get((owner, key))
            if row is None or row.expires_at_s <= now_s:
                row = Row(KeyedRequest(uuid4(), owner, key, digest), None, 0, now_s + self.life_s)
            if row.request.digest != digest:
                return Mismatched()
            if row.answer is not None:
                return Answered(row.request, row.answer)
            if row.hold is not None and row.held_until_s > now_s:
                return UnderWay(row.request)
            hold = uuid4()
            self.rows[owner, key] = replace(row, hold=hold, held_until_s=now_s + self.lease_s)
            return Taken(row.request, hold)

    async def renew(self, holds: Mapping[UUID, UUID]) -> None:
        now_s = self._asked()
        for place, row in self.rows.items():
            if row.hold is not None and holds.get(row.hold) == row.request.id:
                self.rows[place] = replace(row, held_until_s=now_s + self.lease_s)

    async def answer(self, request: KeyedRequest, answer: KeptAnswer) -> None:
        self._asked()
        place = self._place(request)
        if place is not None and self.rows[place].answer is None:
            self.rows[place] = replace(self.rows[place], answer=answer, hold=None)

    async def release(self, taken: Taken) -> None:
        self._asked()
        place = self._held(taken)
        if place is not None:
            self.rows[place] = replace(self.rows[place], hold=None)

    async def forget(self, taken: Taken) -> None:
        self._asked()
        place = self._held(taken)
        if place is not None:
            del self.rows[place]

    async def sweep(self) -> None:
        now_s = self._asked()
        for place in [place for place, row in self.rows.items() if row.expires_at_s <= now_s]:
            del self.rows[place]

    async def find(self, tx: Tx, request: KeyedRequest) -> str | None:
        del tx
        place = self._place(request)
        if place is None:
            raise RequestSuperseded
        return self.rows[place].made

    async def note(self, tx: Tx, request: KeyedRequest, made: str) -> None:
        del tx
        place = self._place(request)
        assert place is not None
        self.rows[place] = replace(self.rows[place], made=made)

    def _place(self, request: KeyedRequest) -> Place | None:
        return next((place for place, row in self.rows.items() if row.request.id == request.id), None)

    def _held(self, taken: Taken) -> Place | None:
        place = self._place(taken.request)
        return place if place is not None and self.rows[place].hold == taken.hold else None

    def _asked(self) -> float:
        if self.is_away:
            raise Unavailable("The store does not answer.")
        return self.clock.monotonic_s()


async def a_keyed_request(store: FakeKeyedRequests, owner: UserId, key: str = "k") -> KeyedRequest:
    claim = await store.claim(owner, key, b"d" * 32)
    assert isinstance(claim, Taken)
    return claim.request
