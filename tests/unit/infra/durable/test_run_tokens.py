from dataclasses import replace
from math import inf
from typing import Any
from uuid import UUID

import jwt
import pytest

from app.infra.durable.key_ring import KeyRing
from app.infra.durable.run_tokens import RunTokens
from app.kernel.errors import Unavailable
from app.kernel.identity import Acting
from app.kernel.ids import RunId
from tests.builders import a_principal, acting_principal
from tests.fakes.live_tokens import FakeLiveTokens
from tests.unit.edge.parts import NOW_S, StillClock

RUN = RunId(UUID(int=1))


def some_tokens(**options: str) -> tuple[RunTokens, FakeLiveTokens]:
    published, clock = FakeLiveTokens(), StillClock()
    return RunTokens(KeyRing(published, clock), clock, **options), published


def read(token: str) -> dict[str, Any]:
    """The claims as an upstream reads them, whose signature other tests check."""
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


async def test_a_token_says_who_by_whose_hand_in_which_run_and_for_five_minutes() -> None:
    tokens, published = some_tokens(audience="us")
    caller = acting_principal(RUN, user_id="7", epoch=3, agent="agenda")

    token = await tokens.token_for(caller)

    claims = read(token)
    header = jwt.get_unverified_header(token)
    assert claims.pop("jti")
    assert claims == {
        "iss": "portico",
        "aud": "us",
        "sub": "7",
        "role": "user",
        "iat": NOW_S,
        "exp": NOW_S + 300,
        "run": str(RUN),
        "epoch": 3,
        "act": {"sub": "agenda"},
        "orig_iat": 0.0,
        "orig_jti": "asked-with",
    }
    assert (header["alg"], [header["kid"]]) == ("RS256", list(published.keys))


async def test_each_call_has_a_token_of_its_own() -> None:
    tokens, _ = some_tokens()
    caller = acting_principal(RUN)

    ids = {read(await tokens.token_for(caller))["jti"] for _ in range(3)}

    assert len(ids) == 3


async def test_agents_are_nested_the_present_one_outermost() -> None:
    tokens, _ = some_tokens()
    caller = replace(acting_principal(RUN), acting=Acting(RUN, 1, ("c", "b", "a")))

    assert read(await tokens.token_for(caller))["act"] == {"sub": "c", "act": {"sub": "b", "act": {"sub": "a"}}}


@pytest.mark.parametrize(
    ("role_claim", "roles", "claims"),
    [
        ("role", ("admin",), {"role": "admin"}),
        ("role", ("user", "auditor"), {"role": ["user", "auditor"]}),
        ("realm_access.roles", ("user",), {"realm_access": {"roles": "user"}}),
    ],
)
async def test_the_role_stands_where_the_auth_service_writes_it(
    role_claim: str, roles: tuple[str, ...], claims: dict[str, object]
) -> None:
    tokens, _ = some_tokens(role_claim=role_claim)

    found = read(await tokens.token_for(acting_principal(RUN, roles=roles)))

    assert {name: found[name] for name in claims} == claims


async def test_of_a_token_that_said_little_little_is_said() -> None:
    tokens, _ = some_tokens()
    caller = replace(acting_principal(RUN), issued_at=-inf, token_id=None)

    assert not {"orig_iat", "orig_jti"} & read(await tokens.token_for(caller)).keys()


async def test_only_a_run_is_given_a_token() -> None:
    tokens, published = some_tokens()

    with pytest.raises(ValueError, match="only a run"):
        await tokens.token_for(a_principal())

    assert published.keys == {}


async def test_without_a_published_key_there_is_no_token() -> None:
    tokens, published = some_tokens()
    published.is_away = True

    with pytest.raises(Unavailable):
        await tokens.token_for(acting_principal(RUN))
