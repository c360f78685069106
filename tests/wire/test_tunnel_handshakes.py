"""The handshake of a tunnel, byte by byte: who is let in, what the upstream is told, and what becomes of its answer."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.builders import a_token
from tests.wire.caller import Caller, get
from tests.wire.doorway import SWITCHING, TOKEN, handshake, running_doorway
from tests.wire.front import Front
from tests.wire.hostile import HI, OK, Script, Visit, answering, eventually

PATIENCE_S = 10
COOKIE = b"Cookie: pg_access_token=" + a_token().encode()
FRAME = b"\x82\x02hi"
MASKED = b"\x82\x82\0\0\0\0hi"


@pytest.fixture(scope="module")
def front_gateway() -> Iterator[Front]:
    with running_doorway() as front:
        yield front


@pytest.fixture(autouse=True)
async def _nothing_is_left(front: Front) -> AsyncIterator[None]:
    yield
    await eventually(lambda: front.edge.gauges.tunnels_open == front.edge.load.requests_open == 0)


def switching(*answers: bytes, head: bytes = SWITCHING) -> Script:
    """Accept the handshake, and send so much behind it."""

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(head + b"".join(answers))
        await visit.until_left()

    return script


async def read(caller: Caller, size: int) -> bytes:
    async with asyncio.timeout(PATIENCE_S):
        return await caller.reader.readexactly(size)


async def test_the_upstream_is_sent_the_handshake_with_who_asks_and_without_what_the_client_claims(
    front: Front,
) -> None:
    claims = (b"X-User-Id: 99", b"X-User-Role: admin", b"X_User_Id: 99", b"Sec-WebSocket-Protocol: a, b", b"X-Own: 1")
    async with front.upstream(switching()) as upstream, front.calling() as caller:
        await caller.send(handshake(b"/mine/a%20b?room=7&x=%2f", TOKEN, *claims))
        await caller.head()

    head = upstream.visits[0].received
    lines = head.lower().split(b"\r\n")
    assert lines[0] == b"get /mine/a%20b?room=7&x=%2f http/1.1"
    assert [one for one in lines if one.startswith((b"connection:", b"upgrade:"))] == [
        b"connection: upgrade",
        b"upgrade: websocket",
    ]
    assert [one for one in lines if b"user" in one] == [b"x-user-id: 1", b"x-user-role: user"]
    assert b"sec-websocket-key: aaaaaaaaaaaaaaaaaaaaaa==" in lines
    assert b"sec-websocket-version: 13" in lines
    assert b"sec-websocket-protocol: a, b" in lines
    assert b"x-own: 1" in lines
    assert b"authorization" not in head.lower()


async def test_a_token_among_the_subprotocols_opens_the_door_and_goes_no_further(front: Front) -> None:
    token = TOKEN.rpartition(b" ")[2]
    named = (b"Sec-WebSocket-Protocol: a, portico.bearer.%b" % token, b"Sec-WebSocket-Protocol: b")
    async with front.upstream(switching()) as upstream, front.calling() as caller:
        await caller.send(handshake(b"/mine", *named))
        answered = await caller.head()

    head = upstream.visits[0].received.lower()
    assert answered.status == 101
    assert b"x-user-id: 1\r\n" in head
    assert b"sec-websocket-protocol: a, b\r\n" in head
    assert b"portico.bearer" not in head


async def test_what_a_client_names_in_connection_goes_and_what_we_add_stays(front: Front) -> None:
    asked = handshake(b"/mine", TOKEN, b"X-Secret: 1")
    asked = asked.replace(b"Connection: Upgrade", b"Connection: x-secret, keep-alive, Upgrade, X-User-Id")
    async with front.upstream(switching()) as upstream, front.calling() as caller:
        await caller.send(asked)
        await caller.head()

    assert b"x-secret" not in upstream.visits[0].received.lower()
    assert b"x-user-id: 1\r\n" in upstream.visits[0].received


async def test_the_clients_answer_says_101_in_our_words_and_the_handshake_in_the_upstreams(front: Front) -> None:
    head = SWITCHING.replace(
        b"Connection: Upgrade\r\n",
        b"Connection: upgrade, x-hop\r\nX-Hop: 1\r\nServer: them\r\nContent-Length: 5\r\nSet-Cookie: a=1\r\n"
        b"Set-Cookie: b=2\r\nSec-WebSocket-Protocol: b\r\nSec-WebSocket-Extensions: x-unknown; p=1\r\n",
    ).replace(b"1wtp5xEKX5dJGQVdJUEHqBIDTXk=", b"wrong")
    async with front.upstream(switching(head=head)), front.calling() as caller:
        await caller.send(handshake(b"/ws"))
        answered = await caller.head()

    assert (answered.status, answered.reason) == (101, b"Switching Protocols")
    assert answered.all(b"connection") == [b"Upgrade"]
    assert answered.all(b"upgrade") == [b"websocket"]
    assert answered.all(b"sec-websocket-accept") == [b"wrong"]
    assert answered.all(b"sec-websocket-protocol") == [b"b"]
    assert answered.all(b"sec-websocket-extensions") == [b"x-unknown; p=1"]
    assert answered.all(b"set-cookie") == [b"a=1", b"b=2"]
    assert len(answered.all(b"x-request-id")) == len(answered.all(b"date")) == 1
    for name in (b"x-hop", b"server", b"content-length", b"transfer-encoding"):
        assert answered.all(name) == []


async def test_bytes_right_behind_the_101_arrive(front: Front) -> None:
    async with front.upstream(switching(FRAME)), front.calling() as caller:
        await caller.send(handshake(b"/ws"))
        answered = await caller.head()

        assert answered.status == 101
        assert await read(caller, 4) == FRAME


async def test_a_101_byte_by_byte_comes_behind_the_interim_answers_before_it(front: Front) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.dribble(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + SWITCHING + FRAME)
        await visit.until_left()

    async with front.upstream(script), front.calling() as caller:
        await caller.send(handshake(b"/ws"))
        heads = [await caller.head() for _ in range(3)]

        assert [head.status for head in heads] == [100, 103, 101]
        assert await read(caller, 4) == FRAME


@pytest.mark.parametrize("size", [1, 10_000])
async def test_frames_that_a_client_sends_before_the_101_wait_for_it(front: Front, size: int) -> None:
    early = MASKED * size
    may_switch = asyncio.Event()

    async def script(visit: Visit) -> None:
        head = await visit.request()
        await may_switch.wait()
        visit.received = b""
        assert head.endswith(b"\r\n\r\n")
        await visit.send(SWITCHING)
        await visit.until_left()

    async with front.upstream(script) as upstream, front.calling() as caller:
        await caller.send(handshake(b"/ws") + early)
        await eventually(lambda: bool(upstream.visits))
        may_switch.set()
        assert (await caller.head()).status == 101

        await eventually(lambda: len(upstream.visits[0].received) == len(early))
        assert upstream.visits[0].received == early


async def test_a_handshake_may_stand_behind_another_request(front: Front) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(HI)
        await visit.request()
        visit.received = b""
        await visit.send(SWITCHING + FRAME)
        await visit.until_left()

    async with front.upstream(script) as upstream, front.calling() as caller:
        await caller.send(get(b"/plain") + handshake(b"/ws") + MASKED)
        first = await caller.answer()
        second = await caller.head()

        assert (first.body, second.status) == (b"hi", 101)
        assert await read(caller, 4) == FRAME
        await eventually(lambda: upstream.visits[0].received == MASKED)


REFUSALS = {
    "403": b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno",
    "200": HI,
    "chunked": OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    "426": b"HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 8\r\nContent-Length: 0\r\n\r\n",
    "503": b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 3\r\nContent-Length: 2\r\n\r\nhi",
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
async def test_an_upstreams_refusal_is_a_plain_answer_and_both_connections_go_on(front: Front, refusal: bytes) -> None:
    async with front.upstream(answering(refusal, HI)) as upstream, front.calling() as caller:
        await caller.send(handshake(b"/ws"))
        refused = await caller.answer()
        await caller.send(get(b"/plain"))
        answered = await caller.answer()

        assert refused.status == int(refusal[9:12])
        assert refused.is_whole
        assert refused.all(b"upgrade") == refused.all(b"connection") == []
        assert answered.body == b"hi"
        assert len(upstream.visits) == 1


BROKEN = {
    "another protocol": SWITCHING.replace(b"Upgrade: websocket", b"Upgrade: h2c"),
    "two protocols": SWITCHING.replace(b"Upgrade: websocket", b"Upgrade: websocket\r\nUpgrade: h2c"),
    "no protocol": b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "no HTTP": FRAME,
    "a cut head": SWITCHING[:40],
    "nothing": b"",
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
async def test_an_answer_that_is_none_is_502(front: Front, answer: bytes) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(answer)

    async with front.upstream(script), front.calling() as caller:
        await caller.send(handshake(b"/ws"))
        answered = await caller.answer()

        assert (answered.status, answered.problem["type"]) == (502, "upstream-broken")
        await caller.send(get(b"/nowhere"))
        assert (await caller.answer()).status == 404


async def test_an_upstream_that_does_not_answer_the_handshake_is_504(front: Front) -> None:
    async with front.upstream(Visit.until_left), front.calling() as caller:
        await caller.send(handshake(b"/impatient"))
        answered = await caller.answer()

        assert (answered.status, answered.problem["type"]) == (504, "upstream-timeout")


async def test_an_upstream_that_is_not_there_is_502(front: Front) -> None:
    answered = await front.ask(handshake(b"/ws"))

    assert (answered.status, answered.problem["type"]) == (502, "upstream-refused")


SAME_SITE = b"Origin: http://front"
REFUSED = {
    "nobody": (b"/mine", (), 401, "token-missing"),
    "a role too low": (b"/staff", (TOKEN,), 403, "role-not-allowed"),
    "a cookie and no origin": (b"/mine", (COOKIE,), 403, "origin-not-allowed"),
    "a cookie from another site": (b"/mine", (COOKIE, b"Origin: http://evil.test"), 403, "origin-not-allowed"),
    "a row without websocket": (b"/plain", (), 400, "upgrade-not-offered"),
    "no row": (b"/nowhere", (), 404, "route-not-found"),
    "a body": (b"/ws", (b"Content-Length: 5",), 400, "head-malformed"),
    "a chunked body": (b"/ws", (b"Transfer-Encoding: chunked",), 400, "head-malformed"),
}


@pytest.mark.parametrize(("path", "fields", "status", "kind"), REFUSED.values(), ids=REFUSED)
async def test_who_may_not_enter_is_refused_before_the_upstream_hears_of_it(
    front: Front, path: bytes, fields: tuple[bytes, ...], status: int, kind: str
) -> None:
    async with front.upstream(switching()) as upstream:
        answered = await front.ask(handshake(path, *fields))

        assert (answered.status, answered.problem["type"]) == (status, kind)
        assert upstream.visits == []


@pytest.mark.parametrize("fields", [(COOKIE, SAME_SITE), (COOKIE, b"Sec-Fetch-Site: same-origin"), (TOKEN,)])
async def test_who_may_enter_is_let_in(front: Front, fields: tuple[bytes, ...]) -> None:
    async with front.upstream(switching()) as upstream, front.calling() as caller:
        await caller.send(handshake(b"/mine", *fields))

        assert (await caller.head()).status == 101
        assert b"pg_access_token" not in upstream.visits[0].received


async def test_handshakes_are_counted_by_the_rows_limit(front: Front) -> None:
    statuses = []
    async with front.upstream(switching()):
        for _ in range(3):
            async with front.calling() as caller:
                await caller.send(handshake(b"/limited"))
                statuses.append((await caller.head()).status)

    assert statuses == [101, 101, 429]


NO_HANDSHAKES = {
    "HTTP/1.0": handshake(b"/ws").replace(b"HTTP/1.1", b"HTTP/1.0"),
    "another method": handshake(b"/ws").replace(b"GET", b"PUT"),
    "no word in Connection": handshake(b"/ws").replace(b"Connection: Upgrade\r\n", b""),
    "another protocol": handshake(b"/ws").replace(b"Upgrade: websocket", b"Upgrade: h2c"),
}


@pytest.mark.parametrize("asked", NO_HANDSHAKES.values(), ids=NO_HANDSHAKES)
async def test_what_is_no_handshake_is_a_request_without_one(front: Front, asked: bytes) -> None:
    async with front.upstream(answering(HI)) as upstream, front.calling() as caller:
        await caller.send(asked)
        answered = await caller.answer()

        assert answered.body == b"hi"
        assert b"upgrade" not in upstream.visits[0].received.lower()


async def test_a_client_that_wants_to_close_is_not_told_so_in_the_101(front: Front) -> None:
    asked = handshake(b"/ws").replace(b"Connection: Upgrade", b"Connection: close, Upgrade")
    async with front.upstream(switching(FRAME)), front.calling() as caller:
        await caller.send(asked)
        answered = await caller.head()

        assert answered.all(b"connection") == [b"Upgrade"]
        assert await read(caller, 4) == FRAME
