"""What we make of what a server says of its tools."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.agents.contract import Risk
from app.agents.mcp_client.listed import ListedTool, marked, name_for, traits_for
from app.agents.mcp_client.pace import FIRST_PAUSE_S, LONGEST_PAUSE_S, Pace
from app.agents.mcp_client.server import Secrets
from tests.unit.agents.mcp_client.rig import at, small


@given(st.text(min_size=1), st.text(min_size=1))
def test_two_tools_of_one_server_never_have_one_name(one: str, other: str) -> None:
    server = at("http://a/mcp")

    names = name_for(server, one), name_for(server, other)

    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) for name in names)
    assert (names[0] == names[1]) == (one == other)


def test_a_name_says_whose_tool_it_is_unless_the_entry_wants_another_prefix() -> None:
    assert name_for(at("http://a/mcp", "github"), "search") == "github_search"
    assert name_for(at("http://a/mcp", "github", prefix="gh-"), "search") == "gh-search"
    assert name_for(at("http://a/mcp", "github", prefix=""), "search") == "search"
    assert marked("x", at("http://a/mcp", "a"), "x") != marked("x", at("http://a/mcp", "b"), "x")


@pytest.mark.parametrize(
    ("trusted", "reads", "destroys", "idempotent", "risk", "twice"),
    [
        (False, None, None, None, Risk.WRITES_OUTSIDE, False),
        (False, True, None, True, Risk.WRITES_OUTSIDE, False),
        (False, True, True, None, Risk.DESTROYS, False),
        (True, None, None, None, Risk.WRITES_OUTSIDE, False),
        (True, True, None, None, Risk.READS, True),
        (True, False, False, True, Risk.WRITES_OUTSIDE, True),
        (True, False, True, False, Risk.DESTROYS, False),
    ],
)
def test_a_hint_is_believed_of_a_trusted_server_and_a_warning_of_every_one(
    trusted: bool,  # noqa: FBT001 - a table
    reads: bool | None,  # noqa: FBT001
    destroys: bool | None,  # noqa: FBT001
    idempotent: bool | None,  # noqa: FBT001
    risk: Risk,
    twice: bool,  # noqa: FBT001
) -> None:
    tool = ListedTool("t", "", {}, reads_only=reads, destroys=destroys, is_idempotent=idempotent)

    traits = traits_for(at("http://a/mcp", trusted=trusted), tool)

    assert (traits.risk, traits.is_idempotent) == (risk, twice)


def test_a_tool_has_the_time_its_entry_gives_it() -> None:
    server = small(timeout_s=5, timeouts_s={"slow": 50})

    times = [traits_for(server, ListedTool(name, "", {})).timeout_s for name in ("slow", "other")]

    assert times == [50, 5]


def test_what_is_denied_is_not_offered_even_where_it_is_allowed() -> None:
    server = small(tools=("read_*", "wipe"), denied_tools=("*_secret",))

    offered = [name for name in ("read_file", "read_secret", "wipe", "write") if server.offers(name)]

    assert offered == ["read_file", "wipe"]
    assert small().offers("anything")


def test_pauses_grow_from_none_to_a_bound_and_are_not_in_step() -> None:
    slow, quick = Pace(jitter=lambda: 1.0), Pace(jitter=lambda: 0.0)

    pauses = [slow.failed() for _ in range(40)]

    assert pauses[:3] == [0, FIRST_PAUSE_S, 2 * FIRST_PAUSE_S]
    assert max(pauses) == LONGEST_PAUSE_S
    assert [quick.failed() for _ in range(3)] == [0, FIRST_PAUSE_S / 2, FIRST_PAUSE_S]
    slow.forgive()
    assert slow.failed() == 0


def test_what_a_server_says_is_told_without_what_it_was_trusted_with() -> None:
    server = small(
        env={"A": "in ${ONE} here", "B": "plain-value"}, environment={"ONE": "first-secret", "TWO": "second"}
    )

    told = server.secrets.hide("first-secret, in first-secret here; plain-value; second; Basic dXNlcjpwYXNz")

    assert told == "[redacted], [redacted]; [redacted]; second; Basic [redacted]"
    assert "first-secret" not in repr(server) + repr(server.secrets)
    assert Secrets.of(["abc"]).hide("abc") == "abc"
