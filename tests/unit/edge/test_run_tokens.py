"""What is let in of the tokens of runs: rule by rule, with a signature that holds, and as a worker signs them."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from uuid import UUID

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

from app.edge.claims import TokenRules
from app.edge.keys import KeySet, KeysStale, read_pem
from app.edge.live_runs import FRESH_S, LiveRuns, RunsStale
from app.edge.run_tokens import RunTokenVerifier
from app.edge.tokens import TokenVerifier
from app.infra.durable.key_ring import KeyRing, public_key_of
from app.infra.durable.run_tokens import RunTokens
from app.kernel.errors import Fault
from app.kernel.identity import Access, Acting, Principal, RoleTable
from app.kernel.ids import RunId
from app.kernel.revocation import Mark
from tests.builders import ROLES, a_token, acting_principal, public_pem, signing_key
from tests.fakes.live_tokens import FakeLiveTokens
from tests.unit.edge.parts import NOW_S, StillClock
from tests.unit.edge.test_revocations import a_revocation, at

RUN, ENDED = RunId(UUID(int=1)), RunId(UUID(int=2))
EPOCH = 3
WORKERS_KEY, STRANGERS_KEY = (generate_private_key(65537, 2048) for _ in range(2))
KEY_ID = public_key_of(WORKERS_KEY).id
NEW_KEY = replace(public_key_of(STRANGERS_KEY), id="portico-run-new")
CLAIMS: Mapping[str, object] = {
    "iss": "portico",
    "aud": "portico",
    "sub": "7",
    "role": "user",
    "iat": NOW_S,
    "exp": NOW_S + 300,
    "jti": "r1",
    "run": str(RUN),
    "epoch": EPOCH,
    "act": {"sub": "assistant"},
    "orig_iat": NOW_S - 1000,
    "orig_jti": "t1",
}


@dataclass(slots=True)
class Checked:
    """A verifier for both sides' tokens, what it knows of runs, and the clock; time does not pass by itself."""

    rules: TokenRules = field(default_factory=lambda: TokenRules(roles=ROLES))
    audience: str = "portico"
    clock: StillClock = field(default_factory=StillClock)
    source: FakeLiveTokens = field(default_factory=FakeLiveTokens)
    auth_keys: KeySet = field(default_factory=lambda: KeySet(any_id=read_pem(public_pem())))
    live: LiveRuns = field(init=False)
    verifier: TokenVerifier = field(init=False)

    def __post_init__(self) -> None:
        self.source.keys[KEY_ID] = public_key_of(WORKERS_KEY)
        self.source.epochs[RUN] = EPOCH
        self.live = LiveRuns(self.source, self.clock)
        runs = RunTokenVerifier(self.live, self.audience)
        self.verifier = TokenVerifier(self.rules, lambda: self.auth_keys, self.clock, runs=runs)

    async def verify(self, token: str) -> Principal:
        """Verify as the edge does: what is stale is read, once."""
        try:
            return self.verifier.verify(token.encode())
        except RunsStale:
            await self.live.refresh()
        except KeysStale:
            pass
        return self.verifier.verify(token.encode(), are_keys_fresh=True)

    async def outcome(self, token: str) -> str:
        try:
            return (await self.verify(token)).user_id
        except Fault as fault:
            return fault.type


def of(**claims: object) -> str:
    """A run's token of the worker's key whose claims are these, over the usual ones; `...` leaves one out."""
    return signed(claims=claims)


def signed(key: RSAPrivateKey = WORKERS_KEY, kid: str | None = KEY_ID, claims: Mapping[str, object] = CLAIMS) -> str:
    merged = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not ...}
    return encoded(json.dumps(merged), key, headers={} if kid is None else {"kid": kid})


def encoded(
    payload: str,
    key: RSAPrivateKey | str = WORKERS_KEY,
    algorithm: str = "RS256",
    headers: Mapping[str, object] | None = None,
) -> str:
    """Sign any text at all: PyJWT's own way would not write every claim that is tried here."""
    return jwt.api_jws.encode(payload.encode(), key, algorithm, dict({"kid": KEY_ID} if headers is None else headers))


async def test_a_good_token_is_the_asker_by_the_hand_of_an_agent() -> None:
    token = of(role=["user", "manager"], act={"sub": "agenda", "act": {"sub": "assistant"}})

    who = await Checked().verify(token)

    assert who == Principal(
        user_id="7",  # type: ignore[arg-type] # a UserId is a text
        role="manager",
        groups=frozenset({Access.COMMON, Access.STAFF}),
        expires_at=NOW_S + 300,
        token_id="t1",
        credential=token,
        issued_at=NOW_S - 1000,
        roles=("user", "manager"),
        acting=Acting(RUN, EPOCH, ("agenda", "assistant"), token_id="r1"),
    )


async def test_what_a_worker_signs_is_let_in_as_who_it_was_signed_for() -> None:
    checked = Checked(rules=TokenRules(ROLES, issuer="auth", audience="us", role_claim="realm.roles"), audience="us")
    tokens = RunTokens(KeyRing(checked.source, checked.clock), checked.clock, "us", "realm.roles")
    caller = acting_principal(RUN, user_id="7", roles=("user", "admin"), epoch=EPOCH, agent="agenda")

    who = await checked.verify(await tokens.token_for(caller))

    assert who.acting is not None
    assert (who.user_id, who.role, who.roles, who.groups) == ("7", "admin", ("user", "admin"), caller.groups)
    assert (who.issued_at, who.token_id, who.expires_at) == (caller.issued_at, caller.token_id, NOW_S + 300)
    assert (who.acting.run_id, who.acting.epoch, who.acting.agents) == (RUN, EPOCH, ("agenda",))


DEEP: dict[str, object] = {"sub": "a"}
for _ in range(8):
    DEEP = {"sub": "a", "act": DEEP}


@pytest.mark.parametrize(
    ("claims", "outcome"),
    [
        ({}, "7"),
        # whose it is
        ({"iss": ...}, "token-invalid"),
        ({"iss": "Portico"}, "token-invalid"),
        ({"iss": ["portico"]}, "token-invalid"),
        ({"iss": "auth"}, "token-invalid"),
        # for whom
        ({"aud": ...}, "token-invalid"),
        ({"aud": "other"}, "token-invalid"),
        ({"aud": []}, "token-invalid"),
        ({"aud": ["other", "portico"]}, "7"),
        # in whose name
        ({"sub": ...}, "token-invalid"),
        ({"sub": ""}, "token-invalid"),
        ({"role": ...}, "token-invalid"),
        ({"role": []}, "token-invalid"),
        # when
        ({"exp": ...}, "token-invalid"),
        ({"exp": NOW_S - 10}, "token-expired"),
        ({"exp": NOW_S + 601}, "token-invalid"),
        ({"exp": NOW_S + 600}, "7"),
        ({"iat": ...}, "token-invalid"),
        ({"iat": True}, "token-invalid"),
        ({"iat": NOW_S + 11, "exp": NOW_S + 300}, "token-invalid"),
        ({"iat": NOW_S + 5, "exp": NOW_S + 1}, "token-invalid"),
        ({"nbf": NOW_S + 11}, "token-invalid"),
        # its name
        ({"jti": ...}, "token-invalid"),
        ({"jti": ""}, "token-invalid"),
        ({"jti": 5}, "token-invalid"),
        # its run
        ({"run": ...}, "token-invalid"),
        ({"run": None}, "token-invalid"),
        ({"run": 1}, "token-invalid"),
        ({"run": "1"}, "token-invalid"),
        ({"run": RUN.hex}, "token-invalid"),
        ({"run": "{" + str(RUN) + "}"}, "token-invalid"),
        ({"run": str(ENDED)}, "token-invalid"),
        ({"epoch": ...}, "token-invalid"),
        ({"epoch": "3"}, "token-invalid"),
        ({"epoch": True}, "token-invalid"),
        ({"epoch": 3.0}, "token-invalid"),
        ({"epoch": EPOCH - 1}, "token-invalid"),
        ({"epoch": EPOCH + 1}, "token-invalid"),
        ({"epoch": 10**400}, "token-invalid"),
        # its agent
        ({"act": ...}, "token-invalid"),
        ({"act": None}, "token-invalid"),
        ({"act": "assistant"}, "token-invalid"),
        ({"act": ["assistant"]}, "token-invalid"),
        ({"act": {}}, "token-invalid"),
        ({"act": {"sub": ""}}, "token-invalid"),
        ({"act": {"sub": 5}}, "token-invalid"),
        ({"act": {"sub": "a\r\nx: y"}}, "token-invalid"),
        ({"act": {"sub": "a", "act": "b"}}, "token-invalid"),
        ({"act": {"sub": "a", "act": {}}}, "token-invalid"),
        ({"act": DEEP["act"]}, "7"),
        ({"act": DEEP}, "token-invalid"),
        # the token it was asked for with
        ({"orig_iat": ...}, "7"),
        ({"orig_iat": "5"}, "token-invalid"),
        ({"orig_iat": True}, "token-invalid"),
        ({"orig_jti": ...}, "7"),
        ({"orig_jti": 5}, "token-invalid"),
    ],
    ids=repr,
)
async def test_a_claim_is_what_it_should_be_or_the_token_is_refused(claims: dict[str, object], outcome: str) -> None:
    assert await Checked().outcome(of(**claims)) == outcome


SIGNED_WRONGLY: dict[str, Callable[[], str]] = {
    "a stranger's key of our name": lambda: signed(STRANGERS_KEY),
    "a stranger's key of its own name": lambda: signed(STRANGERS_KEY, public_key_of(STRANGERS_KEY).id),
    "the auth service's key of our name": lambda: signed(signing_key()),
    "the auth service's key and a name like ours": lambda: signed(signing_key(), "portico-run-x"),
    "the worker's key without its name": lambda: signed(kid=None),
    "the worker's key of another name": lambda: signed(kid="auth-1"),
    "the worker's key and a name like ours": lambda: signed(kid="portico-run-"),
    "the worker's key, as the auth service": lambda: of(iss="auth"),
    "no algorithm": lambda: encoded(json.dumps(CLAIMS), "", "none"),
    "a secret": lambda: encoded(json.dumps(CLAIMS), "x" * 32, "HS256"),
    "another RSA algorithm": lambda: encoded(json.dumps(CLAIMS), algorithm="RS512"),
    "a key that it brings along": lambda: encoded(
        json.dumps(CLAIMS), STRANGERS_KEY, headers={"kid": KEY_ID, "jwk": {"kty": "RSA"}}
    ),
    "a payload that is no object": lambda: encoded("[]"),
    "a payload that is no JSON": lambda: encoded("{"),
}


@pytest.mark.parametrize("token", SIGNED_WRONGLY.values(), ids=SIGNED_WRONGLY.keys())
async def test_neither_side_speaks_for_the_other_nor_anybody_for_either(token: Callable[[], str]) -> None:
    assert await Checked().outcome(token()) == "token-invalid"


async def test_a_token_of_the_auth_service_may_name_it_portico_and_is_nobodys_run() -> None:
    checked = Checked(rules=TokenRules(roles=ROLES, issuer="portico"))

    who = await checked.verify(a_token(iss="portico", exp=NOW_S + 60, iat=NOW_S, run=str(RUN), act={"sub": "a"}))

    assert (who.user_id, who.acting) == ("1", None)


async def test_where_no_runs_are_known_a_runs_token_is_one_of_an_unknown_key() -> None:
    checked = Checked()
    checked.verifier.runs = None

    assert await checked.outcome(of()) == "token-invalid"


# ---- while the run lives


async def test_it_is_good_from_the_moment_the_run_and_its_key_are_there() -> None:
    checked = Checked()
    late = RunId(UUID(int=9))
    was_refused = await checked.outcome(of(run=str(late)))
    checked.clock.now_s += FRESH_S / 2  # what was read is fresh, and knows nothing of either

    checked.source.epochs[late] = EPOCH
    checked.source.keys[NEW_KEY.id] = NEW_KEY

    assert was_refused == "token-invalid"
    assert await checked.outcome(of(run=str(late))) == "7"
    checked.clock.now_s += FRESH_S / 2
    assert await checked.outcome(signed(STRANGERS_KEY, NEW_KEY.id)) == "7"


@pytest.mark.parametrize("end", ["over", "taken over"])
async def test_it_is_good_no_longer_than_a_reading_is_fresh_once_the_run_is_over(end: str) -> None:
    checked = Checked()
    await checked.verify(of())
    if end == "over":
        del checked.source.epochs[RUN]
    else:
        checked.source.epochs[RUN] = EPOCH + 1

    checked.clock.now_s += FRESH_S + 0.01

    assert await checked.outcome(of()) == "token-invalid"


async def test_a_key_that_was_taken_away_signs_no_more() -> None:
    checked = Checked()
    await checked.verify(of())
    del checked.source.keys[KEY_ID]

    checked.clock.now_s += FRESH_S + 0.01

    assert await checked.outcome(of()) == "token-invalid"


async def test_while_it_is_fresh_nothing_is_read_for_a_yes() -> None:
    checked = Checked()
    for _ in range(5):
        await checked.verify(of())

    assert checked.source.asked == 1


@pytest.mark.parametrize("is_known", [True, False], ids=["known before", "never read"])
async def test_while_it_cannot_be_read_nobody_is_let_in(*, is_known: bool) -> None:
    checked = Checked()
    if is_known:
        await checked.verify(of())
        checked.clock.now_s += FRESH_S + 0.01

    checked.source.is_away = True

    assert await checked.outcome(of()) == "keys-unavailable"
    checked.source.is_away = False
    checked.clock.now_s += 1
    assert await checked.outcome(of()) == "7"


# ---- what is withdrawn


@pytest.mark.parametrize(
    ("revocation", "outcome"),
    [
        pytest.param(a_revocation("7"), "token-invalid", id="the user, after he asked"),
        pytest.param(a_revocation("7", before=at(-1000)), "7", id="the user, before he asked"),
        pytest.param(a_revocation("8"), "7", id="another user"),
        pytest.param(a_revocation("t1", Mark.JWT_ID), "token-invalid", id="the token it was asked for with"),
        pytest.param(a_revocation("r1", Mark.JWT_ID), "token-invalid", id="the run's own token"),
    ],
)
async def test_who_is_withdrawn_has_no_run_that_speaks_for_him(revocation: object, outcome: str) -> None:
    checked = Checked()
    await checked.verify(of())

    checked.verifier.revocations.apply([revocation])  # type: ignore[list-item] # a table's column

    assert await checked.outcome(of(jti="r1")) == outcome


async def test_who_said_not_when_he_asked_asked_before_everything() -> None:
    checked = Checked()
    checked.verifier.revocations.apply([a_revocation("7", before=at(-100_000))])

    assert await checked.outcome(of(orig_iat=...)) == "token-invalid"


async def test_what_a_role_opens_is_looked_up_where_the_run_calls() -> None:
    in_production = RoleTable.build({}, developer_everywhere=False)
    checked = Checked(rules=TokenRules(roles=in_production))

    who = await checked.verify(of(role="developer"))

    assert who.groups == frozenset()
