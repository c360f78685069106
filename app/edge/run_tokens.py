"""The tokens that runs carry: signed by our own workers, for minutes, good while the run lives and for nothing else.

Facts
- An issuer and a key's name together say that a token is a run's; it is then checked with the workers' keys only, as
  any other token is with the auth service's only, so that neither side can speak for the other (RFC 8725 §3.8).
- `act` names the agent; an `act` inside it names the agent in whose run that run was asked for (RFC 8693 §4.1).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from uuid import UUID

from app.edge.claims import TokenRules, is_field_value, principal_of, time_of
from app.edge.faults import KeysUnavailable, TokenInvalid
from app.edge.live_runs import LiveRuns, RunsStale
from app.edge.signatures import claimed_issuer, claims_of
from app.kernel.identity import Acting, Principal
from app.kernel.ids import RunId
from app.kernel.run_tokens import AUDIENCE, ISSUER, KEY_ID_PREFIX, LIFE_S, MAX_AGENTS

MAX_LIFE_S = 2 * LIFE_S


@dataclass(frozen=True, slots=True)
class RunTokenVerifier:
    """Check the tokens of runs. Cost: one RSA verification each; where `live` is not fresh, a reading."""

    live: LiveRuns
    audience: str = AUDIENCE

    def issued(self, token: bytes, header: Mapping[str, object]) -> bool:
        """Tell whether a token says that it is a run's. Errors: TokenInvalid."""
        return str(header.get("kid", "")).startswith(KEY_ID_PREFIX) and claimed_issuer(token) == ISSUER

    def verify(
        self, token: bytes, header: Mapping[str, object], rules: TokenRules, *, now_s: float, are_keys_fresh: bool
    ) -> Principal:
        """Check a token for which `issued` holds. Errors: TokenExpired, TokenInvalid, KeysUnavailable, RunsStale."""
        key = self.live.key(str(header["kid"]))
        if key is None:
            raise self._no("The token is signed with a key that is not known here.", are_keys_fresh=are_keys_fresh)
        claims = claims_of(token, key)
        own_rules = replace(rules, issuer=ISSUER, audience=self.audience)
        bearer = principal_of(claims, own_rules, now_s=now_s, credential=token.decode("ascii"))
        acting = _acting(bearer, claims)
        if not self.live.lives(acting):
            raise self._no("The run that the token belongs to is over.", are_keys_fresh=are_keys_fresh)
        if not self.live.is_fresh and not (are_keys_fresh and not self.live.is_lost):
            raise self._no("", are_keys_fresh=are_keys_fresh)
        issued_at, token_id = _asked_with(claims)
        return replace(bearer, issued_at=issued_at, token_id=token_id, acting=acting)

    def _no(self, words: str, *, are_keys_fresh: bool) -> Exception:
        """Say no if that was read for this question; else have it read, and say so where it cannot be."""
        if not are_keys_fresh:
            return RunsStale()
        if self.live.is_lost:
            return KeysUnavailable("It is not known which runs live; try again.", headers={"retry-after": "1"})
        return TokenInvalid(words)


def _acting(bearer: Principal, claims: Mapping[str, object]) -> Acting:
    """Errors: TokenInvalid."""
    if not 0 <= bearer.expires_at - bearer.issued_at <= MAX_LIFE_S:
        raise TokenInvalid("A run's token says when it was issued, and lives for minutes.")
    if not bearer.token_id:
        raise TokenInvalid("A run's token has a jti.")
    epoch = claims.get("epoch")
    if isinstance(epoch, bool) or not isinstance(epoch, int):
        raise TokenInvalid("The token's epoch is not a number.")
    return Acting(_run_id(claims), epoch, tuple(_agents(claims)), bearer.token_id)


def _run_id(claims: Mapping[str, object]) -> RunId:
    """Read the id in the one spelling we write. Errors: TokenInvalid."""
    text = claims.get("run")
    try:
        id_ = UUID(text) if isinstance(text, str) else None
    except ValueError:
        id_ = None
    if id_ is None or str(id_) != text:
        raise TokenInvalid("The token's run is not the id of one.")
    return RunId(id_)


def _agents(claims: Mapping[str, object]) -> Iterator[str]:
    """Read the chain of actors, the present one first. Errors: TokenInvalid."""
    actor = claims.get("act")
    for _ in range(MAX_AGENTS):
        name = actor.get("sub") if isinstance(actor, dict) else None
        if not isinstance(actor, dict) or not isinstance(name, str) or not is_field_value(name):
            raise TokenInvalid("The token's act names no agent.")
        yield name
        if "act" not in actor:
            return
        actor = actor["act"]
    raise TokenInvalid("The token's act is too deep.")


def _asked_with(claims: Mapping[str, object]) -> tuple[float, str | None]:
    """Tell when the token was issued with which the run was asked for, and its jti. Errors: TokenInvalid."""
    issued_at, token_id = time_of(claims, "orig_iat"), claims.get("orig_jti")
    if not isinstance(token_id, str | None):
        raise TokenInvalid("The token's orig_jti is not a text.")
    return float("-inf") if issued_at is None else issued_at, token_id
