"""Stage: from a token to a principal.

Facts
- A cookie is sent by the browser whoever made the request, so with one an unsafe method must show where it came from:
  `Sec-Fetch-Site` (Fetch Metadata) or `Origin` (RFC 6454 §7). A bearer token is attached on purpose and is exempt.
- A token given twice, or twice differently, is refused: two readers would pick different ones.
- An API key is long-lived: it is taken from the `Authorization` field only, which no browser fills by itself and no log
  of addresses shows, and it is never sent on. What it may open is its scopes' to say.
- A page cannot set fields of a WebSocket's handshake, but it can name subprotocols (WHATWG WebSockets §3.1). One of
  them may be `portico.bearer.TOKEN`: it is attached on purpose, like a bearer token, and never leaves us.
"""

import re
from dataclasses import dataclass

from app.edge.faults import OriginNotAllowed, ScopeNotGranted, TokenInvalid, TokenMissing
from app.edge.headers import SUBPROTOCOLS, cookies, tokens_in_subprotocols
from app.edge.record import SAFE_METHODS, Answer, Record
from app.edge.tokens import TokenVerifier
from app.kernel.api_keys import ApiKey, looks_like_a_key
from app.kernel.errors import Fault
from app.kernel.identity import Principal

KEY_ELSEWHERE = "An API key is taken as `Authorization: Bearer KEY` only."
_BEARER = re.compile(rb"bearer +([A-Za-z0-9._~+/=-]+) *", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Set `principal`. On a PUBLIC row a missing, broken or contradictory token is no error and gives no identity.

    Errors: TokenMissing, TokenExpired, TokenInvalid, OriginNotAllowed, ScopeNotGranted, KeysUnavailable; KeysStale when
    something must be fetched first.
    """

    tokens: TokenVerifier
    cookie_name: bytes
    origins: frozenset[bytes]

    def __call__(self, record: Record) -> Answer | None:
        if record.route is not None and record.route.is_public:
            try:
                self._identify(record)
            except Fault:
                record.principal = None
            return None
        self._identify(record)
        return None

    def _identify(self, record: Record) -> None:
        token = self._token(record)
        record.principal = self.tokens.verify(token, are_keys_fresh=record.are_keys_fresh)
        if record.is_token_from_cookie and (record.method not in SAFE_METHODS or record.is_upgrade):
            self._check_origin(record)
        if record.principal.key is not None:
            record.principal = self._of_key(record, record.principal, record.principal.key)

    def _of_key(self, record: Record, who: Principal, key: ApiKey) -> Principal:
        if not key.opens(record.method, record.path):
            words = ", ".join(scope.text for scope in key.scopes)
            raise ScopeNotGranted(f"The key opens {words}; make one whose scopes name this door, too.")
        if record.route is not None and record.route.forward_token and self.tokens.sessions is not None:
            return self.tokens.sessions.forwardable(who)
        return who

    def _token(self, record: Record) -> bytes:
        fields = record.all(b"authorization")
        bearers = [value for value in fields if value[:6].lower() == b"bearer"]
        in_cookies = cookies(record.headers, self.cookie_name) if record.first(b"cookie") is not None else []
        if len(fields) > 1 or len(in_cookies) > 1:
            raise TokenInvalid("More than one token was given.")
        cookie = in_cookies[0] if in_cookies else b""
        attached = _attached(record, bearers)
        if looks_like_a_key(cookie) or (not bearers and looks_like_a_key(attached or b"")):
            raise TokenInvalid(KEY_ELSEWHERE)
        if attached is not None:
            if cookie and cookie != attached:
                raise TokenInvalid("The cookie and the request carry different tokens.")
            return attached
        if cookie:
            record.is_token_from_cookie = True
            return cookie
        raise TokenMissing("Send `Authorization: Bearer TOKEN` or the session cookie.")

    def _check_origin(self, record: Record) -> None:
        origins = record.all(b"origin")
        if len(origins) == 1 and origins[0] in self.origins:
            return
        site = record.first(b"sec-fetch-site")
        if site == b"same-origin" or (site is None and len(origins) == 1 and _is_own_origin(record, origins[0])):
            return
        raise OriginNotAllowed("A request with a cookie must come from this site or from an origin in CORS_ORIGINS.")


def _attached(record: Record, bearers: list[bytes]) -> bytes | None:
    """Find the token that was attached on purpose. Errors: TokenInvalid."""
    given: list[bytes] = []
    if bearers:
        found = _BEARER.fullmatch(bearers[0])
        if found is None:
            raise TokenInvalid("The Authorization field is not `Bearer TOKEN`.")
        given.append(found[1])
    if record.is_upgrade and record.first(SUBPROTOCOLS) is not None:
        given += tokens_in_subprotocols(record.headers)
    if len(given) > 1:
        raise TokenInvalid("More than one token was given.")
    return given[0] if given else None


def _is_own_origin(record: Record, origin: bytes) -> bool:
    scheme = record.scheme.encode()
    host = record.first(b"host") or b""
    if record.is_peer_trusted:
        scheme = record.first(b"x-forwarded-proto") or scheme
        host = record.first(b"x-forwarded-host") or host
    return origin.lower() == scheme.lower() + b"://" + host.lower()
