"""The tokens that keys are exchanged for: signed by Portico, for minutes, good while their key is.

Facts
- A key opens our doors only, and leaves by none of them. A service behind a row with `forward_token` is sent a token in
  its place: the one that was shown, or one that is made for the key and kept for as long as it holds.
- An issuer and the name of a key say together that a token is a session's; it is checked with the published keys, as a
  run's is, and has claims that a run's has not, and the other way round (RFC 8725 §3.12).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import structlog

from app.edge.api_keys import ApiKeys
from app.edge.claims import TokenRules, principal_of
from app.edge.faults import KeysUnavailable, TokenInvalid
from app.edge.keys import KeysStale
from app.edge.live_runs import LiveRuns, RunsStale
from app.edge.signatures import claimed_issuer, claims_of
from app.kernel.api_keys import ApiKey, read_mark
from app.kernel.clock import Clock
from app.kernel.errors import Unavailable
from app.kernel.identity import Principal
from app.kernel.ids import KeyId
from app.kernel.run_tokens import AUDIENCE, ISSUER
from app.kernel.session_tokens import KEY_CLAIM, KEY_ID_PREFIX, LIFE_S, SessionToken

SPARE_S = 60
"""a token that is sent to a service holds at least so much longer"""
UNSIGNED_S = 1
MAX_KEPT = 10_000

log = structlog.get_logger()


class SessionWanted(KeysStale):
    """A token has to be made for this key before its request can be passed on."""

    def __init__(self, key: ApiKey) -> None:
        super().__init__()
        self.key = key


class SessionSigner(Protocol):
    async def session_of(self, key: ApiKey) -> SessionToken:
        """Sign a token for a key. Errors: Unavailable, when its key cannot be published."""
        ...


@dataclass(slots=True)
class Sessions:
    """Concurrency: one per process, of its event loop. Cost: to sign one takes 0.5 ms, once in some minutes and key."""

    signer: SessionSigner
    keys: ApiKeys
    live: LiveRuns
    clock: Clock
    audience: str = AUDIENCE
    _kept: dict[KeyId, SessionToken] = field(default_factory=dict, repr=False)
    _unsigned: dict[KeyId, float] = field(default_factory=dict)

    def issued(self, token: bytes, header: Mapping[str, object]) -> bool:
        """Tell whether a token says that it is a session's. Errors: TokenInvalid."""
        return str(header.get("kid", "")).startswith(KEY_ID_PREFIX) and claimed_issuer(token) == ISSUER

    def verify(
        self, token: bytes, header: Mapping[str, object], rules: TokenRules, *, now_s: float, are_keys_fresh: bool
    ) -> Principal:
        """Check a token for which `issued` holds. Errors: TokenExpired, TokenInvalid, KeysUnavailable, KeysStale."""
        public = self.live.key(str(header["kid"]))
        if public is None and not are_keys_fresh:
            raise RunsStale
        if public is None and self.live.is_lost:
            raise KeysUnavailable("Keys cannot be read at the moment; try again.", headers={"retry-after": "1"})
        if public is None:
            raise TokenInvalid("The token is signed with a key that is not known here.")
        claims = claims_of(token, public)
        bearer = principal_of(claims, replace(rules, issuer=ISSUER, audience=self.audience), now_s=now_s)
        mark = claims.get(KEY_CLAIM)
        key_id = read_mark(mark) if isinstance(mark, str) else None
        if key_id is None or not 0 <= bearer.expires_at - bearer.issued_at <= LIFE_S:
            raise TokenInvalid("A session's token names its key, and lives for minutes.")
        key = self.keys.find(key_id)
        if key is None or key.owner != bearer.user_id:
            raise TokenInvalid("The key that the token was given for is not known; it may have been deleted.")
        of_key = self.keys.principal_of(key, rules, now_s=now_s)
        ends_at = min(bearer.expires_at, of_key.expires_at)
        return replace(of_key, expires_at=ends_at, credential=token.decode("ascii"), is_exchanged=True)

    def forwardable(self, who: Principal) -> Principal:
        """Give a caller who shows a key the token that a service is sent in its place.

        Errors: SessionWanted; KeysUnavailable, where none could be made a moment ago.
        """
        if who.key is None or who.credential:
            return who
        now_s = self.clock.time_s()
        kept = self._kept.get(who.key.id)
        if kept is not None and kept.expires_at_s - SPARE_S > now_s:
            return replace(who, credential=kept.text)
        if self._unsigned.get(who.key.id, now_s) > now_s:
            raise KeysUnavailable("No token can be signed for the service; try again.", headers={"retry-after": "1"})
        raise SessionWanted(who.key)

    async def refresh(self, key: ApiKey) -> None:
        """Have a token made for a key, or know that none can be; never raises."""
        try:
            made = await self.signer.session_of(key)
        except Unavailable as fault:
            log.warning("session.not_signed", **fault.evidence)
            self._unsigned = {key.id: self.clock.time_s() + UNSIGNED_S, **dict(list(self._unsigned.items())[:99])}
            return
        if len(self._kept) >= MAX_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[key.id] = made
