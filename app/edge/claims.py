"""What a token must say, type by type; whoever signed it. The signature was checked before anything here is asked.

Facts
- `sub` is a string (RFC 7519 §2 StringOrURI); `exp`, `nbf` and `iat` are numbers, and JSON's `true` is none.
- Fields lose the spaces around their value (RFC 9110 §5.5): `sub` "7 " would reach an upstream as "7".
"""

from collections.abc import Mapping
from dataclasses import dataclass

from app.edge.faults import TokenExpired, TokenInvalid
from app.kernel.identity import Principal, RoleTable
from app.kernel.ids import UserId

MAX_USER_ID_LENGTH = 255
_LAST_TIME_S = 1e15


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What a token must say. Empty issuer or audience: not checked. `role_claim` is a dotted path."""

    roles: RoleTable
    issuer: str = ""
    audience: str = ""
    role_claim: str = "role"
    leeway_s: float = 10


def principal_of(claims: Mapping[str, object], rules: TokenRules, *, now_s: float, credential: str = "") -> Principal:
    """Check the claims of a token whose signature holds, and make the principal of them.

    Errors: TokenExpired, TokenInvalid.
    """
    expires_at, issued_at = _check_times(claims, now_s, rules.leeway_s)
    if rules.issuer and claims.get("iss") != rules.issuer:
        raise TokenInvalid("The token was issued by someone else.")
    if rules.audience and rules.audience not in _texts(claims.get("aud")):
        raise TokenInvalid("The token is meant for someone else.")
    subject = claims.get("sub")
    if not isinstance(subject, str) or len(subject) > MAX_USER_ID_LENGTH or not is_field_value(subject):
        raise TokenInvalid("The token's sub is not a text of 1 to 255 printable characters, without spaces around it.")
    roles = _texts(_at(claims, rules.role_claim))
    if not roles:
        raise TokenInvalid(f"The token's {rules.role_claim} names no role.")
    token_id = claims.get("jti")
    return Principal(
        user_id=UserId(subject),
        role=rules.roles.highest(roles),
        groups=rules.roles.groups_of(roles),
        expires_at=expires_at,
        token_id=token_id if isinstance(token_id, str) else None,
        credential=credential,
        issued_at=issued_at,
        roles=roles,
    )


def _check_times(claims: Mapping[str, object], now_s: float, leeway_s: float) -> tuple[float, float]:
    """Tell when the token expires and when it was issued."""
    expires_at = time_of(claims, "exp")
    not_before = time_of(claims, "nbf")
    issued_at = time_of(claims, "iat")
    if expires_at is None:
        raise TokenInvalid("The token has no exp.")
    if expires_at + leeway_s <= now_s:
        raise TokenExpired("Get a new token and try again.")
    if max(not_before or 0, issued_at or 0) > now_s + leeway_s:
        raise TokenInvalid("The token is not valid yet.")
    return expires_at, float("-inf") if issued_at is None else issued_at


def time_of(claims: Mapping[str, object], name: str) -> float | None:
    """Read a time in seconds, None where there is none. Errors: TokenInvalid."""
    value = claims.get(name)
    if value is None and name not in claims:
        return None
    # compared, not converted: an int of 400 digits fits no float, and NaN is between nothing
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_LAST_TIME_S < value < _LAST_TIME_S:
        raise TokenInvalid(f"The token's {name} is not a time.")
    return value


def _texts(value: object) -> tuple[str, ...]:
    """Read one text or a list of texts; anything else is none, a list with anything else in it too."""
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not all(isinstance(one, str) and is_field_value(one) for one in value):
        return ()
    return tuple(value)


def is_field_value(text: str) -> bool:
    """Tell whether a text reaches an upstream in a header field as it is."""
    return bool(text) and text.isprintable() and text == text.strip(" ")


def _at(claims: Mapping[str, object], dotted: str) -> object:
    if dotted in claims:
        return claims[dotted]
    found: object = claims
    for part in dotted.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found
