"""Tokens that API keys are exchanged for, signed where requests are answered, with a key ring of their own.

Rule: what this ring has published stays there when the process ends: the tokens it signed hold for some minutes yet.
"""

from dataclasses import dataclass
from uuid import uuid4

import jwt

from app.infra.durable.key_ring import KeyRing
from app.infra.durable.run_tokens import at_claim
from app.kernel.api_keys import ApiKey
from app.kernel.clock import Clock
from app.kernel.run_tokens import AUDIENCE, ISSUER
from app.kernel.session_tokens import KEY_CLAIM, LIFE_S, SessionToken
from app.kernel.values import Json


@dataclass(frozen=True, slots=True)
class SessionTokens:
    """`role_claim` is the dotted path at which the auth service's tokens name the role, and ours do."""

    ring: KeyRing
    clock: Clock
    audience: str = AUDIENCE
    role_claim: str = "role"

    async def session_of(self, key: ApiKey) -> SessionToken:
        """Sign a token for a key; it ends with the key at the latest. Errors: Unavailable."""
        signing = await self.ring.current()
        now_s = int(self.clock.time_s())
        expires_at_s = int(min(now_s + LIFE_S, key.expires_at_s))
        claims: dict[str, Json] = {
            "iss": ISSUER,
            "aud": self.audience,
            "sub": key.owner,
            "iat": now_s,
            "exp": expires_at_s,
            "jti": uuid4().hex,
            KEY_CLAIM: key.mark,
        }
        claims |= at_claim(self.role_claim, key.roles[0] if len(key.roles) == 1 else list(key.roles))
        text = jwt.encode(claims, signing.private, algorithm="RS256", headers={"kid": signing.id})
        return SessionToken(text, expires_at_s)
