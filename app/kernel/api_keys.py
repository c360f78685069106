"""API keys as every part knows them: how one is written, what is kept of it, and which doors it opens.

Facts
- A key is `ptk_ID_SECRET`, both in hex: ID names the row and is no secret, SECRET is 256 random bits.
- What is kept is the secret's plain SHA-256. Passwords need a slow, salted hash because people choose them; nobody
  finds 256 random bits by trying, so nothing slower or keyed would make it safer, and each request pays for it.
- A scope is `PATH` or `METHOD[,METHOD] PATH`, and opens what lies at or below the path, by whole segments. The path
  is compared as it is written in the request: another spelling of it is another path, and is not opened.
- A key's mark stands where a token has its `jti`: what withdraws tokens withdraws keys, and what was begun with one.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Self
from uuid import UUID

from app.kernel.ids import KeyId, UserId

PREFIX = "ptk_"
SECRET_BYTES = 32
MAX_SCOPES = 32
MAX_SCOPE_CHARS = 200
_KEY = re.compile(rb"ptk_([0-9a-f]{32})_([0-9a-f]{64})")
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_SCOPE = re.compile(r"(?:(?P<methods>[A-Z]+(?:,[A-Z]+)*) )?(?P<path>(?:/[A-Za-z0-9._~!$&'()*+,;=:@-]+)+|/)")


@dataclass(frozen=True, slots=True)
class Scope:
    """`text` is as it was given; without methods it is for all of them."""

    text: str
    path: bytes
    methods: frozenset[bytes] = frozenset()

    @classmethod
    def read(cls, text: str) -> Self:
        """Errors: ValueError, saying what is wrong."""
        found = _SCOPE.fullmatch(text) if len(text) <= MAX_SCOPE_CHARS else None
        if found is None:
            raise ValueError("must be a path or methods and a path, such as '/v1' or 'GET,POST /api/v1/agenda'")
        if any(segment in {".", ".."} for segment in found["path"].split("/")):
            raise ValueError("names a path that is never passed on")
        methods = found["methods"].split(",") if found["methods"] else []
        unknown = [method for method in methods if method not in _METHODS]
        if unknown:
            raise ValueError(f"does not know the method {', '.join(unknown)}; known: {', '.join(_METHODS)}")
        return cls(text, found["path"].encode(), frozenset(method.encode() for method in methods))

    def opens(self, method: bytes, path: bytes) -> bool:
        """Tell whether a request is within it; whoever may GET may ask for the HEAD."""
        if self.methods and method not in self.methods and not (method == b"HEAD" and b"GET" in self.methods):
            return False
        if self.path in {b"/", path}:
            return True
        return path.startswith(self.path) and path[len(self.path)] == 0x2F


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is checked; times in seconds since the epoch. Without scopes it opens what its roles open."""

    id: KeyId
    owner: UserId
    digest: bytes = field(repr=False)
    roles: tuple[str, ...]
    created_at_s: float
    scopes: tuple[Scope, ...] = ()
    expires_at_s: float = inf

    @property
    def mark(self) -> str:
        return mark_of(self.id)

    def opens(self, method: bytes, path: bytes) -> bool:
        return not self.scopes or any(scope.opens(method, path) for scope in self.scopes)

    def is_of(self, secret: bytes) -> bool:
        """Tell whether this is its secret, in a time that says nothing of how near it was."""
        return hmac.compare_digest(digest_of(secret), self.digest)


def mark_of(key_id: KeyId) -> str:
    return f"{PREFIX}{key_id.hex}"


def digest_of(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()


def new_secret() -> str:
    return secrets.token_hex(SECRET_BYTES)


def text_of(key_id: KeyId, secret: str) -> str:
    return f"{mark_of(key_id)}_{secret}"


def looks_like_a_key(token: bytes) -> bool:
    return token.startswith(b"ptk_")


def read_key(token: bytes) -> tuple[KeyId, bytes] | None:
    """Take a key apart; None for what is none."""
    found = _KEY.fullmatch(token)
    return None if found is None else (KeyId(UUID(hex=found[1].decode())), found[2])


def read_mark(text: str) -> KeyId | None:
    """Read the id out of a mark; None for the `jti` of another token."""
    found = re.fullmatch(r"ptk_([0-9a-f]{32})", text)
    return None if found is None else KeyId(UUID(hex=found[1]))


def read_scopes(texts: Iterable[str]) -> Sequence[Scope]:
    """Errors: ValueError."""
    return [Scope.read(text) for text in texts]
