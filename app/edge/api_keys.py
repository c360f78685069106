"""API keys as the edge knows them: looked up by their id in memory, and read where one is shown that is not there.

Facts
- A yes is answered out of memory for half a minute. To delete a key is to withdraw its mark, which every process hears
  of within half a second (`Revocations`); it is forgotten then, and plans with it.
- Anybody can make ids up. Each is read once in a while, many of them in one reading, and at most twenty readings a
  second; what waits to be read is bounded. A key that is known waits for none of that.
- An id is made before anybody can know it, so a no may be remembered: nobody makes a key of an id that was asked for.
- Where keys cannot be read, those that are known stay good, as tokens do, and others are not let in (promise P12).
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import anyio
import structlog

from app.edge.claims import TokenRules
from app.edge.faults import KeysUnavailable, TokenExpired, TokenInvalid
from app.edge.keys import KeysStale
from app.edge.revocations import Revocations
from app.infra.observability.health import NotWell
from app.kernel.api_keys import ApiKey, read_key, read_mark
from app.kernel.clock import Clock
from app.kernel.errors import Unavailable
from app.kernel.identity import Principal
from app.kernel.ids import KeyId
from app.kernel.pace import Pace
from app.kernel.revocation import Mark, Revocation

KNOWN_S = 30
UNKNOWN_S = 10
UNREAD_S = 1
MAX_KNOWN = 10_000
MAX_UNKNOWN = 10_000
MAX_WAITING = 2_000
AT_ONCE = 500
"""ids in one reading"""
PAUSE_S = 0.05
READINGS_AT_ONCE = 8
USES_S = 60
GOODBYE_S = 1

log = structlog.get_logger()


class ApiKeyStale(KeysStale):
    """This key is not known yet: read it, then ask again."""

    def __init__(self, key_id: KeyId) -> None:
        super().__init__()
        self.key_id = key_id


class ApiKeySource(Protocol):
    """Where keys are kept, for every process and replica. Errors: Unavailable from both, within three seconds."""

    async def read(self, ids: Sequence[KeyId]) -> Mapping[KeyId, ApiKey]: ...

    async def note_uses(self, uses: Mapping[KeyId, float]) -> None:
        """Write down when keys were used last, in seconds since the epoch; never an earlier time than is there."""
        ...


@dataclass(slots=True)
class ApiKeys:
    """Concurrency: one per process, used on its event loop only; many may ask at once and share a reading.

    Cost: of a known key a look-up and a hash, 3 us; else a reading, with others'.
    """

    source: ApiKeySource
    clock: Clock
    revocations: Revocations
    is_lost: bool = False
    """the last reading failed"""
    _known: dict[KeyId, tuple[ApiKey, float]] = field(default_factory=dict, repr=False)
    _unknown: dict[KeyId, float] = field(default_factory=dict)
    _unread: dict[KeyId, float] = field(default_factory=dict)
    _wanted: dict[KeyId, None] = field(default_factory=dict)
    _uses: dict[KeyId, float] = field(default_factory=dict)
    _pace: Pace = field(default_factory=lambda: Pace(PAUSE_S, READINGS_AT_ONCE))
    _next_at_s: float = float("-inf")
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self.revocations.subscribe(self._forget)

    def verify(self, token: bytes, rules: TokenRules, *, now_s: float) -> Principal:
        """Errors: TokenInvalid, TokenExpired, KeysUnavailable, ApiKeyStale."""
        found = read_key(token)
        if found is None:
            raise TokenInvalid("The key is not written as one of ours; copy it whole.")
        key_id, secret = found
        key = self.find(key_id)
        if key is None or not key.is_of(secret):
            raise TokenInvalid("The key is not known; it may have been deleted.")
        return self.principal_of(key, rules, now_s=now_s)

    def principal_of(self, key: ApiKey, rules: TokenRules, *, now_s: float) -> Principal:
        """Make the caller of a key, with what its roles open now, and note that it is used. Errors: TokenExpired."""
        if key.expires_at_s <= now_s:
            raise TokenExpired("The key has expired; make a new one.")
        self._uses[key.id] = now_s
        return Principal(
            user_id=key.owner,
            role=rules.roles.highest(key.roles),
            groups=rules.roles.groups_of(key.roles),
            expires_at=key.expires_at_s,
            token_id=key.mark,
            issued_at=key.created_at_s,
            roles=key.roles,
            key=key,
        )

    def find(self, key_id: KeyId) -> ApiKey | None:
        """Give a key; None where there is none of this id. Errors: ApiKeyStale, KeysUnavailable."""
        now_s = self.clock.monotonic_s()
        known = self._known.get(key_id)
        if known is not None and known[1] + KNOWN_S > now_s:
            return known[0]
        if self._unknown.get(key_id, now_s) > now_s:
            return None
        if self._unread.get(key_id, now_s) > now_s:
            if known is not None:
                return known[0]
            raise KeysUnavailable("Keys cannot be read at the moment; try again.", headers={"retry-after": "1"})
        raise ApiKeyStale(key_id)

    async def refresh(self, key_id: KeyId) -> None:
        """Come to know whether there is a key of this id, or that it cannot be read now; never raises."""
        if key_id not in self._wanted and len(self._wanted) >= MAX_WAITING:
            self._note_unread([key_id])
            return
        self._wanted[key_id] = None
        async with self._reading:
            if key_id not in self._wanted:
                return  # another's reading took it along
            pause_s = self._next_at_s - self.clock.monotonic_s()
            if pause_s > 0:
                await asyncio.sleep(pause_s)
            begun_at_s = self.clock.monotonic_s()
            self._next_at_s = begun_at_s + self._pace.next_s(begun_at_s)
            await self._read([key_id, *(one for one in self._wanted if one != key_id)][:AT_ONCE])

    async def _read(self, ids: Sequence[KeyId]) -> None:
        for one in ids:
            self._wanted.pop(one, None)
        try:
            found = await self.source.read(ids)
        except Unavailable as fault:
            if not self.is_lost:
                log.warning("api_keys.unread", **fault.evidence)
            self.is_lost = True
            self._note_unread(ids)
            return
        self.is_lost = False
        now_s = self.clock.monotonic_s()
        for one in ids:
            self._known.pop(one, None)  # those read last are forgotten last
            self._unread.pop(one, None)
            if one in found:
                _keep(self._known, one, (found[one], now_s), at_most=MAX_KNOWN)
            else:
                _keep(self._unknown, one, now_s + UNKNOWN_S, at_most=MAX_UNKNOWN)

    def _note_unread(self, ids: Sequence[KeyId]) -> None:
        until_s = self.clock.monotonic_s() + UNREAD_S
        for one in ids:
            self._unread.pop(one, None)
            _keep(self._unread, one, until_s, at_most=MAX_UNKNOWN)

    def _forget(self, withdrawn: Sequence[Revocation]) -> None:
        """Forget keys that may be meant; who is not will be read anew."""
        ids = {read_mark(one.name) for one in withdrawn if one.mark is Mark.JWT_ID}
        owners = {one.name for one in withdrawn if one.mark is Mark.SUBJECT}
        meant = [one for one, (key, _) in self._known.items() if one in ids or key.owner in owners]
        for one in meant:
            del self._known[one]

    async def keep_uses(self, *, every_s: float = USES_S) -> None:
        """Write down which keys were used, now and then, for ever, and at the end."""
        try:
            while True:
                await asyncio.sleep(every_s)
                await self._write_uses()
        finally:
            with anyio.move_on_after(GOODBYE_S, shield=True):
                await self._write_uses()

    async def _write_uses(self) -> None:
        uses, self._uses = self._uses, {}
        if not uses:
            return
        try:
            await self.source.note_uses(uses)
        except Unavailable as fault:
            log.warning("api_keys.uses_not_written", **fault.evidence)
            self._uses = {**uses, **self._uses}

    async def health(self) -> str:
        """Errors: NotWell when keys could not be read."""
        if self.is_lost:
            raise NotWell("API keys cannot be read: those not known here are not let in")
        return f"{len(self._known)} keys known here"


def _keep[K, V](kept: dict[K, V], key: K, value: V, *, at_most: int) -> None:
    """Remember something, and forget what was remembered first where there is too much."""
    if len(kept) >= at_most and key not in kept:
        del kept[next(iter(kept))]
    kept[key] = value
