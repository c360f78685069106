"""The public keys that tokens are checked with: one PEM, or a JWKS document that is fetched and kept.

Facts
- A key for encryption, or one whose `key_ops` leave out "verify", must not check signatures (RFC 7517 §4.2, §4.3).
- An unknown `kid` is how rotation shows; it is also how a stranger makes us fetch, so at most once in ten seconds.
- A JWKS endpoint that is down must not lock everyone out, nor let anyone in: the last good set stays (promise P12).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import jwt
import msgspec
import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from app.kernel.clock import Clock

REFETCH_S = 10
REFRESH_S = 300
FETCH_S = 3
MIN_KEY_BITS = 2048
MAX_KEY_BITS = 8192  # each check of a signature costs the square of it
MAX_KEYS = 100

log = structlog.get_logger()

type Fetch = Callable[[str], Awaitable[bytes]]
"""Get a document by URL, bounded in bytes. Errors: OSError when it cannot be had."""


class KeysStale(Exception):
    """The token names a key we do not have: fetch the keys, then ask again with `are_keys_fresh=True`."""


class KeyUnusable(Exception):
    """This text is no public key that RS256 can be checked with; the message says why."""


@dataclass(frozen=True, slots=True, eq=False)
class KeySet:
    """Keys by `kid`; `any_id` (a PEM) checks every token. Compared by identity: a change is a new set."""

    by_id: Mapping[str, RSAPublicKey] = field(default_factory=dict)
    any_id: RSAPublicKey | None = None

    @property
    def is_empty(self) -> bool:
        return not self.by_id and self.any_id is None

    def find(self, kid: str | None) -> RSAPublicKey | None:
        if self.any_id is not None:
            return self.any_id
        if kid is not None:
            return self.by_id.get(kid)
        return next(iter(self.by_id.values())) if len(self.by_id) == 1 else None


class KeySource(Protocol):
    def current(self) -> KeySet: ...

    async def refresh(self, *, at_most_every_s: float = REFETCH_S) -> None:
        """Fetch the keys anew unless that was done a moment ago; keeps the last good set on failure, never raises."""
        ...


def read_pem(text: str) -> RSAPublicKey:
    """Errors: KeyUnusable."""
    try:
        key = load_pem_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise KeyUnusable("is not a public key in PEM form (-----BEGIN PUBLIC KEY-----)") from None
    if not isinstance(key, RSAPublicKey):
        raise KeyUnusable("is not an RSA key, which RS256 needs")
    if not MIN_KEY_BITS <= key.key_size <= MAX_KEY_BITS:
        raise KeyUnusable(f"has {key.key_size} bits; {MIN_KEY_BITS} to {MAX_KEY_BITS} are accepted")
    return key


@dataclass(frozen=True, slots=True)
class PemKeys:
    """The `kid` of a token is not compared: there is one key."""

    keys: KeySet

    @classmethod
    def read(cls, pem: str) -> "PemKeys":
        return cls(KeySet(any_id=read_pem(pem)))

    def current(self) -> KeySet:
        return self.keys

    async def refresh(self, *, at_most_every_s: float = REFETCH_S) -> None:
        del at_most_every_s


@dataclass(slots=True)
class JwksKeys:
    """Concurrency: many tasks may ask for a refresh at once; they share one fetch."""

    url: str
    fetch: Fetch
    clock: Clock
    detail: str = "not fetched yet"
    _keys: KeySet = field(default_factory=KeySet)
    _tried_at_s: float = float("-inf")
    _fetching: asyncio.Lock = field(default_factory=asyncio.Lock)

    def current(self) -> KeySet:
        return self._keys

    async def refresh(self, *, at_most_every_s: float = REFETCH_S) -> None:
        async with self._fetching:
            if self.clock.monotonic_s() - self._tried_at_s < at_most_every_s:
                return
            self._tried_at_s = self.clock.monotonic_s()
            await self._fetch()

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(FETCH_S):
                document = await self.fetch(self.url)
            found = read_jwks(document)
        except (OSError, KeyUnusable) as error:
            cause = str(error) or f"no answer in {FETCH_S} s"
            self.detail = f"kept the last good keys: {cause}"
            log.warning("keys.fetch_failed", url=self.url, cause=cause)
            return
        self.detail = f"{len(found)} keys"
        if found != self._keys.by_id:
            self._keys = KeySet(by_id=found)
            log.info("keys.changed", url=self.url, kids=sorted(found))


def read_jwks(document: bytes) -> dict[str, RSAPublicKey]:
    """Take the keys that may check RS256 out of a JWKS document; others are passed over.

    Errors: KeyUnusable when none is left.
    """
    try:
        entries = msgspec.json.decode(document)["keys"]
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError, TypeError, RecursionError):
        raise KeyUnusable("the JWKS document cannot be read") from None
    found: dict[str, RSAPublicKey] = {}
    for entry in entries[:MAX_KEYS] if isinstance(entries, list) else ():
        if isinstance(entry, dict) and _may_verify(entry):
            key = read_jwk(entry)
            if key is not None:
                found[str(entry.get("kid", ""))] = key
    if not found:
        raise KeyUnusable("the JWKS document holds no key for RS256")
    return found


def _may_verify(entry: Mapping[str, object]) -> bool:
    operations = entry.get("key_ops")
    return (
        entry.get("kty") == "RSA"
        and entry.get("use", "sig") == "sig"
        and entry.get("alg", "RS256") == "RS256"
        and (operations is None or (isinstance(operations, list) and "verify" in operations))
    )


def read_jwk(entry: Mapping[str, Any]) -> RSAPublicKey | None:
    """Make the key of its parts; None when it is none that RS256 can be checked with."""
    try:
        key = jwt.PyJWK({"kty": "RSA", "n": entry["n"], "e": entry["e"]}, algorithm="RS256").key
    except (jwt.PyJWTError, KeyError, TypeError, ValueError):
        return None
    return key if isinstance(key, RSAPublicKey) and MIN_KEY_BITS <= key.key_size <= MAX_KEY_BITS else None
