"""Tokens for runs, signed where they run. One for each call: it costs 0.3 ms, and nothing of it has to be kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from uuid import uuid4

import jwt

from app.infra.durable.key_ring import KeyRing
from app.kernel.clock import Clock
from app.kernel.identity import Acting, Principal
from app.kernel.run_tokens import AUDIENCE, ISSUER, LIFE_S
from app.kernel.values import Json


@dataclass(frozen=True, slots=True)
class RunTokens:
    """`role_claim` is the dotted path at which the auth service's tokens name the role, and ours do."""

    ring: KeyRing
    clock: Clock
    audience: str = AUDIENCE
    role_claim: str = "role"

    async def token_for(self, caller: Principal) -> str:
        """Sign a token for a caller that a run acts for. Errors: Unavailable, when its key cannot be published."""
        if caller.acting is None:
            raise ValueError("only a run is given a token")
        key = await self.ring.current()
        claims = self._claims(caller, caller.acting)
        return jwt.encode(claims, key.private, algorithm="RS256", headers={"kid": key.id})

    def _claims(self, caller: Principal, acting: Acting) -> dict[str, Json]:
        now_s = int(self.clock.time_s())
        claims: dict[str, Json] = {
            "iss": ISSUER,
            "aud": self.audience,
            "sub": caller.user_id,
            "iat": now_s,
            "exp": now_s + LIFE_S,
            "jti": uuid4().hex,
            "run": str(acting.run_id),
            "epoch": acting.epoch,
            "act": _act(acting.agents),
        }
        if isfinite(caller.issued_at):
            claims["orig_iat"] = caller.issued_at
        if caller.token_id is not None:
            claims["orig_jti"] = caller.token_id
        roles = caller.roles or (caller.role,)
        return claims | at_claim(self.role_claim, roles[0] if len(roles) == 1 else list(roles))


def _act(agents: Sequence[str]) -> Json:
    """Nest the agents, the present one outermost (RFC 8693 §4.1)."""
    first, *others = agents
    actor: Mapping[str, Json] = {"sub": first}
    return {**actor, "act": _act(others)} if others else actor


def at_claim(dotted: str, value: Json) -> dict[str, Json]:
    """Write a claim at a dotted path."""
    first, _, rest = dotted.partition(".")
    return {first: at_claim(rest, value) if rest else value}
