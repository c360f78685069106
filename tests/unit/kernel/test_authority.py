import json
from math import inf
from uuid import UUID

import pytest

from app.kernel.authority import Authority, DelegatedTooDeep
from app.kernel.identity import Access, Acting, Principal, RoleTable
from app.kernel.ids import RunId, UserId
from app.kernel.run_tokens import MAX_AGENTS
from app.kernel.values import Json

RUN, OTHER_RUN = RunId(UUID(int=1)), RunId(UUID(int=2))
OPEN = RoleTable.build({}, developer_everywhere=True)
PROD = RoleTable.build({}, developer_everywhere=False)
ASKER = Principal(
    UserId("7"),
    "manager",
    frozenset({Access.COMMON, Access.STAFF}),
    expires_at=100,
    token_id="t1",
    credential="swordfish",
    issued_at=50.5,
    roles=("user", "manager"),
)


def test_what_is_kept_of_a_caller_is_who_with_which_roles_and_how_that_is_withdrawn() -> None:
    kept = Authority.of(ASKER)

    assert kept == Authority(UserId("7"), ("user", "manager"), issued_at=50.5, token_id="t1")


def test_no_token_is_kept() -> None:
    assert "swordfish" not in json.dumps(Authority.of(ASKER).as_json())


def test_the_caller_in_a_run_is_the_asker_by_the_hand_of_an_agent() -> None:
    who = Authority.of(ASKER).in_run(RUN, 3, agent="agenda", table=OPEN)

    assert (who.user_id, who.role, who.roles, who.groups) == ("7", "manager", ("user", "manager"), ASKER.groups)
    assert (who.issued_at, who.token_id, who.credential) == (50.5, "t1", "")
    assert who.acting == Acting(RUN, 3, ("agenda",))


def test_what_a_role_opens_is_asked_again_and_not_remembered() -> None:
    kept = Authority(UserId("7"), ("developer",))

    assert Access.ADMIN in kept.in_run(RUN, 1, agent="agenda", table=OPEN).groups
    assert kept.in_run(RUN, 1, agent="agenda", table=PROD).groups == frozenset()


def test_a_run_that_is_asked_for_by_a_run_names_both_agents_and_the_first_token() -> None:
    first = Authority.of(ASKER).in_run(RUN, 1, agent="assistant", table=OPEN)

    second = Authority.of(first).in_run(OTHER_RUN, 1, agent="agenda", table=OPEN)

    assert second.acting == Acting(OTHER_RUN, 1, ("agenda", "assistant"))
    assert (second.issued_at, second.token_id) == (50.5, "t1")


def test_agents_that_ask_one_another_for_ever_are_stopped() -> None:
    who = ASKER
    for _ in range(MAX_AGENTS):
        who = Authority.of(who).in_run(RUN, 1, agent="assistant", table=OPEN)

    with pytest.raises(DelegatedTooDeep):
        Authority.of(who)


@pytest.mark.parametrize(
    "kept",
    [
        Authority.of(ASKER),
        Authority(UserId("7"), ("user",), issued_at=-inf, token_id=None),
        Authority(UserId("ö"), ("user",), issued_at=5, agents=("a", "b")),
    ],
    ids=["all of it", "a token that says little", "behind two agents"],
)
def test_it_survives_a_row(kept: Authority) -> None:
    assert Authority.from_json(json.loads(json.dumps(kept.as_json()))) == kept


@pytest.mark.parametrize(
    "change",
    [{"sub": 7}, {"roles": []}, {"roles": [1]}, {"roles": "user"}, {"iat": "5"}, {"jti": 5}, {"agents": [None]}],
    ids=repr,
)
def test_anything_else_in_the_row_is_nobodys(change: dict[str, Json]) -> None:
    with pytest.raises(ValueError, match="nobody's"):
        Authority.from_json({**Authority.of(ASKER).as_json(), **change})


@pytest.mark.parametrize("value", [None, "7", [], {}, {"sub": "7", "roles": ["user"]}], ids=repr)
def test_half_of_it_is_nobodys(value: Json) -> None:
    with pytest.raises(ValueError, match="nobody's"):
        Authority.from_json(value)
