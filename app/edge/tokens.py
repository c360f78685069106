"""From the text of a token to a principal: checked by whose token it is, claim by claim, remembered until it expires.

Facts
- Verifying costs about 55 us, a look-up less than one: a verified token is remembered, bounded, and never beyond its
  expiry, the removal of its key or its withdrawal: what is withdrawn is forgotten then, and not remembered again.
- Whose token it is, the auth service's, a run's or a session's, its issuer and its key's name say, and each is checked
  with the keys of that side only. A run's is not remembered: it is good while the run lives, and runs ask rarely. Nor
  are API keys, which have a memory of their own, and what was given for one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf

from app.edge.api_keys import ApiKeyStale
from app.edge.claims import TokenRules, principal_of
from app.edge.faults import KeysUnavailable, TokenExpired, TokenInvalid
from app.edge.keys import KeySet, KeySource, KeysStale
from app.edge.live_runs import RunsStale
from app.edge.revocations import Revocations
from app.edge.run_tokens import RunTokenVerifier
from app.edge.session_tokens import Sessions, SessionWanted
from app.edge.signatures import claims_of, header_of
from app.kernel.api_keys import looks_like_a_key
from app.kernel.clock import Clock
from app.kernel.identity import Principal
from app.kernel.ids import RESERVED
from app.kernel.revocation import Mark, Revocation

MAX_REMEMBERED = 20_000
KEY_STANDS_S = 30
"""what was decided with an API key is decided again after so long, so that it is known when it was used last"""
MAX_REMEMBERED_BYTES = 2 * 1024  # a longer token is verified each time: at most 80 MB are remembered


WITHDRAWN = "The token was withdrawn; log in again."
KEY_WITHDRAWN = "The key was withdrawn; make a new one."


@dataclass(slots=True)
class TokenVerifier:
    """Check tokens without waiting. Cost: one look-up for a remembered token, else one RSA verification.

    Without `runs` there are no tokens of runs, without `sessions` no API keys, and what looks like one is checked as
    any other token.
    """

    rules: TokenRules
    keys: Callable[[], KeySet]
    clock: Clock
    revocations: Revocations = field(default_factory=Revocations)
    runs: RunTokenVerifier | None = None
    sessions: Sessions | None = None
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
            raise TokenInvalid(WITHDRAWN if principal.key is None else KEY_WITHDRAWN)
        if len(token) <= MAX_REMEMBERED_BYTES and principal.acting is None and principal.key is None:
            if len(self._remembered) >= MAX_REMEMBERED:
                del self._remembered[next(iter(self._remembered))]
            self._remembered[token] = principal
        return principal

    def ends_at_s(self, who: Principal | None) -> float:
        """Tell until when `verify` would go on to give this principal, if nothing else changes."""
        if who is None:
            return inf
        if who.key is not None:
            return min(who.expires_at, self.clock.time_s() + KEY_STANDS_S)
        return who.expires_at + self.rules.leeway_s

    async def fetch(self, stale: KeysStale, keys: KeySource) -> None:
        """Fetch what a token could not be checked, or passed on, without; never raises."""
        match stale:
            case RunsStale() if self.runs is not None:
                await self.runs.live.refresh()
            case ApiKeyStale(key_id=key_id) if self.sessions is not None:
                await self.sessions.keys.refresh(key_id)
            case SessionWanted(key=key) if self.sessions is not None:
                await self.sessions.refresh(key)
            case _:
                await keys.refresh()

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
        if self.sessions is not None and looks_like_a_key(token):
            return self.sessions.keys.verify(token, self.rules, now_s=now_s)
        header = header_of(token)
        if self.sessions is not None and self.sessions.issued(token, header):
            return self.sessions.verify(token, header, self.rules, now_s=now_s, are_keys_fresh=are_keys_fresh)
        if self.runs is not None and self.runs.issued(token, header):
            return self.runs.verify(token, header, self.rules, now_s=now_s, are_keys_fresh=are_keys_fresh)
        key = keys.find(header.get("kid"))
        if key is None and not are_keys_fresh:
            raise KeysStale
        if key is None:
            if keys.is_empty:
                raise KeysUnavailable("The keys have not been fetched yet; try again.", headers={"retry-after": "5"})
            raise TokenInvalid("The token is signed with a key that is not known here.")
        principal = principal_of(claims_of(token, key), self.rules, now_s=now_s, credential=token.decode("ascii"))
        if principal.user_id.startswith(RESERVED):
            raise TokenInvalid(f"Nobody's sub begins with {RESERVED}")
        return principal
