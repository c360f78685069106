"""Tokens for callers whom somebody else has recognised: what lets the edge check them like everybody's.

The key is made when the program starts and never leaves its memory, and neither do the tokens: they are put into a
request that has reached us already, and verified by the edge of the same process.
"""

import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.kernel.identity import Role

KEY_BITS = 2048
LIFE_S = 900
"""a WebSocket is closed when the token it was opened with expires, so that the host is asked about its caller again"""
REMEMBERED = 1024


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom the host has recognised. `roles` are the values its groups know (`user`, `manager`, `admin`)."""

    user_id: str
    roles: Sequence[str] = (Role.USER.value,)


@dataclass(frozen=True, slots=True)
class OwnTokens:
    """Cost: a signature (half a millisecond) for a caller who was not here in the last minutes."""

    _key: RSAPrivateKey = field(default_factory=lambda: generate_private_key(65537, KEY_BITS), repr=False)
    _kept: OrderedDict[tuple[str, tuple[str, ...]], tuple[float, str]] = field(default_factory=OrderedDict, repr=False)

    @property
    def public_pem(self) -> str:
        return self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def token_for(self, caller: Caller) -> str:
        """Give a token with at least half of its life before it."""
        who = (caller.user_id, tuple(caller.roles))
        now_s = time.time()
        made_s, token = self._kept.get(who, (0.0, ""))
        if not 0 <= now_s - made_s < LIFE_S / 2:
            claims = {"sub": who[0], "role": list(who[1]), "iat": int(now_s), "exp": int(now_s) + LIFE_S}
            made_s, token = now_s, jwt.encode(claims, self._key, algorithm="RS256")
            self._kept[who] = (made_s, token)
        self._kept.move_to_end(who)
        while len(self._kept) > REMEMBERED:
            self._kept.popitem(last=False)
        return token
