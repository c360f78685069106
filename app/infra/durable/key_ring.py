"""The keys with which this process signs tokens of runs: made when they are needed, kept in memory, gone with it.

Facts
- To make a key of 2048 bits takes 50 ms, now and then 200; OpenSSL lets go of the interpreter meanwhile.
- Whoever keeps the published keys for a while does not know a new one: the next is published before it signs.
- Ages are told by the wall clock, which goes on while a machine sleeps: the published keys expire by it, too.
"""

import asyncio
import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Protocol

import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

from app.kernel.clock import Clock
from app.kernel.errors import Unavailable
from app.kernel.run_tokens import KEY_ID_PREFIX, LIFE_S, PublicKey

SIGNS_S = 4 * 3600
AHEAD_S = 300
PUBLISHED_S = SIGNS_S + 2 * AHEAD_S + LIFE_S
"""so long a key is there to check with: until the last token it may have signed has expired, and a while longer"""
RETRY_S = 10
SET_BACK_S = 60
"""a clock that is set back by more makes the ages of keys unknown, and a new one is made"""
_KEY_BITS = 2048

log = structlog.get_logger()


class SigningKeys(Protocol):
    """Where public keys are published, for every front door. Errors: Unavailable."""

    async def publish(self, key: PublicKey, *, life_s: float) -> None:
        """Publish a key for so long, and forget those whose time is over."""
        ...

    async def withdraw(self, key_ids: Sequence[str]) -> None: ...


@dataclass(frozen=True, slots=True)
class SigningKey:
    """`made_at_s` and `signs_from_s` are in seconds since the epoch."""

    id: str
    private: RSAPrivateKey = field(repr=False)
    made_at_s: float
    signs_from_s: float


@dataclass(slots=True)
class KeyRing:
    """Concurrency: of one event loop; many may ask at once, and one of them makes the key."""

    published: SigningKeys
    clock: Clock
    prefix: str = KEY_ID_PREFIX
    """of the keys' names: it says what they sign"""
    _keys: list[SigningKey] = field(default_factory=list, repr=False)
    _tried_at_s: float = float("-inf")
    _making: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def current(self) -> SigningKey:
        """Give the key to sign with now; any token it signs can be checked. Errors: Unavailable, when there is none."""
        if self._is_next_due():
            async with self._making:
                if self._is_next_due():
                    await self._add()
        return self._signing()[-1]

    async def close(self) -> None:
        """Withdraw what was published: nobody can sign with it any more. Errors: Unavailable."""
        keys, self._keys = self._keys, []
        if keys:
            await self.published.withdraw([key.id for key in keys])

    def _is_next_due(self) -> bool:
        now_s = self.clock.time_s()
        if not self._signing():
            return True
        is_old = self._keys[-1].made_at_s + SIGNS_S <= now_s
        return is_old and not self._tried_at_s <= now_s < self._tried_at_s + RETRY_S

    def _signing(self) -> list[SigningKey]:
        now_s = self.clock.time_s()
        last_s = now_s + LIFE_S - PUBLISHED_S
        return [key for key in self._keys if key.signs_from_s <= now_s and last_s < key.made_at_s <= now_s + SET_BACK_S]

    async def _add(self) -> None:
        """Errors: Unavailable, when there is no other key to go on with."""
        self._tried_at_s = now_s = self.clock.time_s()
        private = await asyncio.to_thread(generate_private_key, 65537, _KEY_BITS)
        public = public_key_of(private, prefix=self.prefix)
        try:
            await self.published.publish(public, life_s=PUBLISHED_S)
        except Unavailable as fault:
            if not self._signing():
                raise
            log.warning("signing_key.not_published", key_id=public.id, **fault.evidence)
            return
        old = self._signing()[-1:]
        self._keys = [*old, SigningKey(public.id, private, now_s, now_s + AHEAD_S if old else -inf)]
        log.info("signing_key.published", key_id=public.id)


def public_key_of(private: RSAPrivateKey, *, prefix: str = KEY_ID_PREFIX) -> PublicKey:
    """Name a key by its thumbprint (RFC 7638 §3)."""
    numbers = private.public_key().public_numbers()
    n, e = _number(numbers.n), _number(numbers.e)
    members = json.dumps({"e": e, "kty": "RSA", "n": n}, separators=(",", ":"))
    return PublicKey(prefix + _base64url(hashlib.sha256(members.encode()).digest()), n, e)


def _number(value: int) -> str:
    return _base64url(value.to_bytes((value.bit_length() + 7) // 8))


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
