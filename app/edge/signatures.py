"""From the text of a token to its claims, once its signature holds: RS256 and nothing else.

Facts
- The algorithm is ours to choose, never the token's (RFC 8725 §3.1); a key carried or named by the token (`jwk`, `jku`,
  `x5u`, `x5c`) is the attacker's (§3.5); an unknown `crit` must be refused (RFC 7515 §4.1.11).
- Its parts are base64url without padding (RFC 7515 §2); PyJWT takes padded ones, another text of the same token.
"""

import base64
import json
from collections.abc import Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from app.edge.faults import TokenInvalid

MAX_TOKEN_BYTES = 8 * 1024
_REFUSED_HEADERS = frozenset({"jwk", "jku", "x5u", "x5c", "crit", "b64"})
# claims are checked elsewhere, type by type: PyJWT takes "123" and true for a time
_ONLY_SIGNATURE: Any = {
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
}


def header_of(token: bytes) -> Mapping[str, Any]:
    """Read what says with which key to check; `kid` is a text, if it is there. Errors: TokenInvalid."""
    if len(token) > MAX_TOKEN_BYTES:
        raise TokenInvalid("The token is too long.")
    if b"=" in token:
        raise TokenInvalid("A token has no padding.")
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, RecursionError):
        raise TokenInvalid("The token is not a JSON Web Token.") from None
    if header.get("alg") != "RS256":
        raise TokenInvalid("The token must be signed with RS256.")
    refused = sorted(_REFUSED_HEADERS & header.keys())
    if refused:
        raise TokenInvalid(f"The token's header may not carry {', '.join(refused)}.")
    return header


def claims_of(token: bytes, key: RSAPublicKey) -> Mapping[str, object]:
    """Errors: TokenInvalid."""
    try:
        return jwt.decode(token, key, algorithms=["RS256"], options=_ONLY_SIGNATURE)
    except (jwt.PyJWTError, RecursionError):
        raise TokenInvalid("The token's signature does not hold.") from None


def claimed_issuer(token: bytes) -> object:
    """Tell whom a token names as its issuer, before anything of it was checked: it is asked again behind the signature.

    Errors: TokenInvalid.
    """
    _, _, rest = token.partition(b".")
    payload, _, _ = rest.partition(b".")
    try:
        claims = json.loads(base64.urlsafe_b64decode(payload + b"=" * (-len(payload) % 4)))
    except (ValueError, RecursionError):
        raise TokenInvalid("The token is not a JSON Web Token.") from None
    return claims.get("iss") if isinstance(claims, dict) else None
