"""Passwords at rest: scrypt, with its costs written beside each hash so that they can be raised later."""

import base64
import hashlib
import hmac
import secrets

import anyio
from anyio import to_thread

# OWASP password storage cheat sheet: N=2^14, r=8, p=5 needs 16 MiB and about as long as N=2^17, p=1.
_COST_LOG2, _BLOCK, _PARALLEL = 14, 8, 5
_LIMIT_BYTES = 64 * 1024 * 1024
_AT_ONCE = 2  # hashing is meant to be slow; more threads than this would starve everything else


def hash_password(password: str) -> str:
    """Cost: about 0.2 s of one core; never on the event loop."""
    salt = secrets.token_bytes(16)
    digest = _scrypt(password, salt, cost_log2=_COST_LOG2, block=_BLOCK, parallel=_PARALLEL)
    return f"scrypt${_COST_LOG2}${_BLOCK}${_PARALLEL}${_encode(salt)}${_encode(digest)}"


def matches(password: str, stored: str) -> bool:
    _, cost_log2, block, parallel, salt, digest = stored.split("$")
    found = _scrypt(
        password, base64.b64decode(salt), cost_log2=int(cost_log2), block=int(block), parallel=int(parallel)
    )
    return hmac.compare_digest(found, base64.b64decode(digest))


class Passwords:
    """Hash and compare off the event loop, a few at a time."""

    def __init__(self) -> None:
        self._turns = anyio.CapacityLimiter(_AT_ONCE)
        self._nobody = hash_password(secrets.token_urlsafe())

    async def hash(self, password: str) -> str:
        return await to_thread.run_sync(hash_password, password, limiter=self._turns)

    async def match(self, password: str, stored: str | None) -> bool:
        """Compare; without a stored hash do the same work, so that time does not tell which emails exist."""
        found = await to_thread.run_sync(matches, password, stored or self._nobody, limiter=self._turns)
        return found and stored is not None


def _scrypt(password: str, salt: bytes, *, cost_log2: int, block: int, parallel: int) -> bytes:
    return hashlib.scrypt(
        password.encode(), salt=salt, n=2**cost_log2, r=block, p=parallel, maxmem=_LIMIT_BYTES, dklen=32
    )


def _encode(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
