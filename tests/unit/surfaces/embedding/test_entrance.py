"""Who comes in where the assistant is a part of another program."""

from collections.abc import Mapping
from typing import Any

import pytest

from app.edge.faults import OriginNotAllowed
from app.surfaces.embedding.entrance import CallerNotLocal, Entrance, HostEntrance, LocalEntrance
from app.surfaces.embedding.tokens import Caller, OwnTokens

TOKENS = OwnTokens()
FRIEND = frozenset({"http://localhost:3000"})

type Scope = Any  # Any: an ASGI scope


def a_scope(
    *, peer: str | None = "127.0.0.1", method: str = "POST", kind: str = "http", **fields: str
) -> Mapping[str, Any]:
    told = {"host": "localhost:8000"} | {name.replace("_", "-"): value for name, value in fields.items()}
    return {
        "type": kind,
        "method": method,
        "scheme": "ws" if kind == "websocket" else "http",
        "client": (peer, 5) if peer else None,
        "headers": [(name.encode(), value.encode()) for name, value in told.items() if value],
    }


async def admitted(entrance: Entrance, scope: Scope) -> list[bytes]:
    """Give what the edge is shown for a token."""
    return [value for name, value in await entrance.admit(scope) if name == b"authorization"]


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000", "calculator.localhost"])
async def test_the_user_of_this_machine_is_given_a_token(peer: str, host: str) -> None:
    (token,) = await admitted(LocalEntrance(TOKENS), a_scope(peer=peer, host=host))

    assert token.startswith(b"Bearer ey")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"peer": "10.0.0.7"}, "from the machine it runs on"),
        ({"peer": "::ffff:10.0.0.7"}, "from the machine it runs on"),
        ({"peer": None}, "from the machine it runs on"),
        ({"peer": "testclient"}, "from the machine it runs on"),
        ({"x_forwarded_for": "203.0.113.9"}, "A proxy asks for somebody else"),
        ({"forwarded": "for=203.0.113.9"}, "A proxy asks for somebody else"),
        ({"via": "1.1 caddy"}, "A proxy asks for somebody else"),
        ({"host": "evil.example"}, "as localhost or 127.0.0.1"),
        ({"host": "127.0.0.1.evil.example"}, "as localhost or 127.0.0.1"),
        ({"host": "localhost@evil.example"}, "as localhost or 127.0.0.1"),
        ({"host": ""}, "as localhost or 127.0.0.1"),
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_nobody_from_elsewhere_is_taken_for_that_user(given: dict[str, Any], words: str, method: str) -> None:
    with pytest.raises(CallerNotLocal, match=words) as refused:
        await LocalEntrance(TOKENS).admit(a_scope(method=method, **given))  # type: ignore[arg-type] # a mapping does

    assert "`authenticate`" in str(refused.value)


async def test_not_even_with_a_token_of_whatever_kind() -> None:
    with pytest.raises(CallerNotLocal):
        await LocalEntrance(TOKENS).admit(a_scope(peer="10.0.0.7", authorization="Bearer x"))  # type: ignore[arg-type] # as above


SITES = [
    ({"origin": "http://evil.example"}, False),
    ({"origin": "null"}, False),
    ({"origin": "http://localhost:8001"}, False),
    ({"sec_fetch_site": "cross-site"}, False),
    ({"sec_fetch_site": "same-site", "origin": "http://localhost:8001"}, False),
    ({"sec_fetch_site": "cross-site", "origin": "http://localhost:8000"}, False),
    ({"sec_fetch_site": "same-site", "origin": "http://localhost:3000"}, True),
    ({"origin": "http://localhost:3000"}, True),
    ({"origin": "http://localhost:8000"}, True),
    ({"sec_fetch_site": "same-origin", "origin": "https://outside.example"}, True),
    ({"sec_fetch_site": "none"}, True),
    ({}, True),
]


@pytest.mark.parametrize(("told", "is_let_in"), SITES, ids=str)
@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize("is_local", [True, False], ids=["local", "host"])
async def test_pages_of_other_sites_change_nothing(
    *, told: dict[str, str], is_let_in: bool, kind: str, is_local: bool
) -> None:
    async def ann(scope: Scope) -> Caller:
        return Caller("ann")

    entrance = LocalEntrance(TOKENS, FRIEND) if is_local else HostEntrance(ann, TOKENS, FRIEND)
    scope = a_scope(kind=kind, method="GET" if kind == "websocket" else "POST", **told)

    if is_let_in:
        assert await admitted(entrance, scope)
    else:
        with pytest.raises(OriginNotAllowed):
            await entrance.admit(scope)  # type: ignore[arg-type] # as above


async def test_what_another_sites_page_only_reads_is_not_shown_to_it_by_its_browser() -> None:
    assert await admitted(LocalEntrance(TOKENS), a_scope(method="GET", sec_fetch_site="cross-site"))


async def test_who_brings_a_token_is_the_edges_matter() -> None:
    brought = {"authorization": "Bearer of-a-run"}
    offered = {"sec_websocket_protocol": "portico.events, portico.bearer.of-a-run"}

    assert await admitted(LocalEntrance(TOKENS), a_scope(**brought)) == [b"Bearer of-a-run"]
    assert await admitted(LocalEntrance(TOKENS), a_scope(kind="websocket", **offered)) == []
    assert await admitted(Entrance(), a_scope(peer="10.0.0.7", **brought)) == [b"Bearer of-a-run"]


async def test_whom_the_host_knows_is_that_one_whatever_it_brings_and_nobody_is_nobody() -> None:
    async def says(scope: Scope) -> Caller | None:
        return Caller("ann", ("admin",)) if scope["client"][0] == "10.0.0.7" else None

    entrance = HostEntrance(says, TOKENS)
    (ann,) = await admitted(entrance, a_scope(peer="10.0.0.7", authorization="Basic of-the-host"))

    assert ann == b"Bearer " + TOKENS.token_for(Caller("ann", ("admin",))).encode()
    assert await admitted(entrance, a_scope(peer="10.0.0.8")) == []
    assert await admitted(entrance, a_scope(peer="10.0.0.8", authorization="Bearer t")) == [b"Bearer t"]
