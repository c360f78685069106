"""From the text of a token to a principal: RS256 and nothing else, checked claim by claim, remembered until it expires.

Facts
- The algorithm is ours to choose, never the token's (RFC 8725 §3.1); a key carried or named by the token (`jwk`, `jku`,
  `x5u`, `x5c`) is the attacker's (§3.5); an unknown `crit` must be refused (RFC 7515 §4.1.11).
- Its parts are base64url without padding (RFC 7515 §2); PyJWT takes padded ones, another text of the same token.
- `sub` is a string (RFC 7519 §2 StringOrURI); `exp`, `nbf` and `iat` are numbers, and JSON's `true` is none.
- Verifying costs about 55 us, a look-up less than one: a verified token is remembered, bounded, and never beyond its
  expiry, the removal of its key or its withdrawal: what is withdrawn is forgotten then, and not remembered again.
- Fields lose the spaces around their value (RFC 9110 §5.5): `sub` "7 " would reach an upstream as "7".
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any

import jwt

from app.edge.faults import KeysUnavailable, TokenExpired, TokenInvalid
from app.edge.keys import KeySet
from app.edge.revocations import Revocations
from app.kernel.clock import Clock
from app.kernel.identity import Principal, RoleTable
from app.kernel.ids import UserId
from app.kernel.revocation import Mark, Revocation

MAX_TOKEN_BYTES = 8 * 1024
MAX_REMEMBERED = 20_000
MAX_REMEMBERED_BYTES = 2 * 1024  # a longer token is verified each time: at most 80 MB are remembered
MAX_USER_ID_LENGTH = 255
_LAST_TIME_S = 1e15
_REFUSED_HEADERS = frozenset({"jwk", "jku", "x5u", "x5c", "crit", "b64"})


class KeysStale(Exception):
    """The token names a key we do not have: fetch the keys, then ask again with `are_keys_fresh=True`."""


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What a token must say. Empty issuer or audience: not checked. `role_claim` is a dotted path."""

    roles: RoleTable
    issuer: str = ""
    audience: str = ""
    role_claim: str = "role"
    leeway_s: float = 10


@dataclass(slots=True)
class TokenVerifier:
    """Check tokens without waiting. Cost: one look-up for a remembered token, else one RSA verification."""

    rules: TokenRules
    keys: Callable[[], KeySet]
    clock: Clock
    revocations: Revocations = field(default_factory=Revocations)
    _remembered: dict[bytes, Principal] = field(default_factory=dict, repr=False)
    _remembered_for: KeySet | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.revocations.subscribe(self._forget)

    def verify(self, token: bytes, *, are_keys_fresh: bool = False) -> Principal:
        """Errors: TokenExpired, TokenInvalid, KeysUnavailable; KeysStale unless `are_keys_fresh`."""
        keys = self.keys()
        if keys is not self._remembered_for:
            self._remembered.clear()
            self._remembered_for = keys
        now_s = self.clock.time_s()
        known = self._remembered.get(token)
        if known is not None:
            if known.expires_at + self.rules.leeway_s <= now_s:
                del self._remembered[token]
                raise TokenExpired("Get a new token and try again.")
            return known
        principal = self._verify_text(token, keys, now_s, are_keys_fresh=are_keys_fresh)
        if self.revocations.refuses(principal):
            raise TokenInvalid("The token was withdrawn; log in again.")
        if len(token) <= MAX_REMEMBERED_BYTES:
            if len(self._remembered) >= MAX_REMEMBERED:
                del self._remembered[next(iter(self._remembered))]
            self._remembered[token] = principal
        return principal

    def ends_at_s(self, who: Principal | None) -> float:
        """Tell until when `verify` would go on to give this principal, if nothing else changes."""
        return inf if who is None else who.expires_at + self.rules.leeway_s

    def follow(self, rules: TokenRules) -> None:
        """Go by other rules from now on: a principal that is remembered holds the groups of the old ones."""
        if rules != self.rules:
            self.rules = rules
            self._remembered.clear()

    def _forget(self, withdrawn: Sequence[Revocation]) -> None:
        """Forget whoever may be meant; who is not will be verified anew. Cost: 1 ms for 20,000 remembered tokens."""
        subjects = {one.name for one in withdrawn if one.mark is Mark.SUBJECT}
        ids = {one.name for one in withdrawn if one.mark is Mark.JWT_ID}
        meant = [text for text, who in self._remembered.items() if who.user_id in subjects or who.token_id in ids]
        for text in meant:
            del self._remembered[text]

    def _verify_text(self, token: bytes, keys: KeySet, now_s: float, *, are_keys_fresh: bool) -> Principal:
        if len(token) > MAX_TOKEN_BYTES:
            raise TokenInvalid("The token is too long.")
        if b"=" in token:
            raise TokenInvalid("A token has no padding.")
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, RecursionError):
            raise TokenInvalid("The token is not a JSON Web Token.") from None
        _check_header(header)
        key = keys.find(header.get("kid"))
        if key is None and not are_keys_fresh:
            raise KeysStale
        if key is None:
            if keys.is_empty:
                raise KeysUnavailable("The keys have not been fetched yet; try again.", headers={"retry-after": "5"})
            raise TokenInvalid("The token is signed with a key that is not known here.")
        try:
            claims = jwt.decode(token, key, algorithms=["RS256"], options=_ONLY_SIGNATURE)
        except (jwt.PyJWTError, RecursionError):
            raise TokenInvalid("The token's signature does not hold.") from None
        return principal_of(claims, self.rules, now_s=now_s, credential=token.decode("ascii"))


# claims are checked below, type by type: PyJWT takes "123" and true for a time
_ONLY_SIGNATURE: Any = {
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
}


def _check_header(header: Mapping[str, object]) -> None:
    if header.get("alg") != "RS256":
        raise TokenInvalid("The token must be signed with RS256.")
    refused = sorted(_REFUSED_HEADERS & header.keys())
    if refused:
        raise TokenInvalid(f"The token's header may not carry {', '.join(refused)}.")


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
    if not isinstance(subject, str) or len(subject) > MAX_USER_ID_LENGTH or not _is_field_value(subject):
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
    )


def _check_times(claims: Mapping[str, object], now_s: float, leeway_s: float) -> tuple[float, float]:
    """Tell when the token expires and when it was issued."""
    expires_at = _time(claims, "exp")
    not_before = _time(claims, "nbf")
    issued_at = _time(claims, "iat")
    if expires_at is None:
        raise TokenInvalid("The token has no exp.")
    if expires_at + leeway_s <= now_s:
        raise TokenExpired("Get a new token and try again.")
    if max(not_before or 0, issued_at or 0) > now_s + leeway_s:
        raise TokenInvalid("The token is not valid yet.")
    return expires_at, float("-inf") if issued_at is None else issued_at


def _time(claims: Mapping[str, object], name: str) -> float | None:
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
    if not isinstance(value, list) or not all(isinstance(one, str) and _is_field_value(one) for one in value):
        return ()
    return tuple(value)


def _is_field_value(text: str) -> bool:
    """Tell whether a text reaches an upstream in a header field as it is."""
    return bool(text) and text.isprintable() and text == text.strip(" ")


def _at(claims: Mapping[str, object], dotted: str) -> object:
    if dotted in claims:
        return claims[dotted]
    found: object = claims
    for part in dotted.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found
