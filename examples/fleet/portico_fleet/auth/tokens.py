"""Access tokens: short-lived RS256 JWTs that the gateway verifies with the published keys."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

import jwt

from portico_fleet.auth.accounts import Account
from portico_fleet.auth.keys import KeyRing
from portico_fleet.refused import Unauthenticated

ISSUER = "portico-demo-auth"
AUDIENCE = "portico"
_OUR_TTL_S = 60


class TokenInvalid(Unauthenticated):
    kind = "token-invalid"


@dataclass(frozen=True, slots=True)
class Claims:
    user_id: int
    session_id: str


@dataclass(frozen=True, slots=True)
class AccessTokens:
    keys: KeyRing
    ttl_s: int

    def issue(self, account: Account, *, session_id: str, issued_at_s: float) -> str:
        """Sign a token. With parts of a second in it, a logout everywhere is told from a login right after it."""
        about = {"sub": str(account.id), "role": account.role, "sid": session_id}
        return self._sign(about, issued_at_s=issued_at_s, ttl_s=self.ttl_s)

    def issue_for_ourselves(self, *, now_s: int) -> str:
        """Sign a token with which this service may ask the gateway for what an admin may."""
        return self._sign({"sub": ISSUER, "role": "admin"}, issued_at_s=now_s, ttl_s=_OUR_TTL_S)

    def _sign(self, about: Mapping[str, str], *, issued_at_s: float, ttl_s: int) -> str:
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "jti": secrets.token_hex(16),
            "iat": issued_at_s,
            "nbf": int(issued_at_s),
            "exp": issued_at_s + ttl_s,
            **about,
        }
        key = self.keys.newest
        return jwt.encode(claims, key.private, algorithm="RS256", headers={"kid": key.kid})

    def verify(self, token: str) -> Claims:
        """Errors: TokenInvalid, for whatever reason."""
        try:
            key = self.keys.public(str(jwt.get_unverified_header(token).get("kid")))
            if key is None:
                raise TokenInvalid("the access token was not signed here")
            claims = jwt.decode(
                token,
                key,
                algorithms=["RS256"],
                audience=AUDIENCE,
                issuer=ISSUER,
                options={"require": ["exp", "sub", "sid"]},
            )
        except jwt.InvalidTokenError as fact:
            raise TokenInvalid("the access token is expired or not valid") from fact
        return Claims(user_id=int(claims["sub"]), session_id=claims["sid"])
