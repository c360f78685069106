"""WebSockets of our own endpoints: decided on like any request, then spoken by the server's protocol."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from app.edge.asgi_client import Receive, Scope, Send
from tests.builders import a_run_token, a_token, bearer
from tests.wire.caller import LEAVES, Leave
from tests.wire.doorway import TOKEN, dying_token, handshake, running_doorway, withdraw
from tests.wire.front import Front
from tests.wire.hostile import eventually
from tests.wire.runs import begin_run, end_run

PATIENCE_S = 10
MASKED_HI = b"\x81\x82\0\0\0\0hi"
HI = b"\x81\x02hi"


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Accept, say who is there, and repeat everything."""
    assert scope["type"] == "websocket"
    assert (await receive())["type"] == "websocket.connect"
    if scope["path"].endswith("/refused"):
        await send({"type": "websocket.close"})
        return
    if scope["path"].endswith("/broken"):
        raise LookupError("no word of this")
    await send({"type": "websocket.accept", "headers": [(b"x-own", b"1"), (b"x-request-id", b"forged")]})
    who = scope["state"]["principal"]
    await send({"type": "websocket.send", "text": who.user_id if who else "nobody"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


@pytest.fixture(scope="module")
def front_gateway() -> Iterator[Front]:
    with running_doorway(echo) as front:
        yield front


@pytest.fixture(autouse=True)
async def _nothing_is_left(front: Front) -> AsyncIterator[None]:
    async with asyncio.timeout(PATIENCE_S):
        yield
    edge = front.edge
    await eventually(lambda: edge.gauges.tunnels_open == edge.gauges.connections_open == edge.admission.opened == 0)
    await eventually(lambda: edge.load.requests_open == 0)


def client(front: Front, path: str, headers: dict[str, str] | None = None) -> connect:
    return connect(f"ws://127.0.0.1:{front.port}{path}", additional_headers=headers, proxy=None)


async def heard(socket: ClientConnection, message: str | bytes) -> Any:  # Any: text or bytes, as it was sent
    async with asyncio.timeout(PATIENCE_S):
        await socket.send(message)
        return await socket.recv()


async def test_a_message_comes_back_and_the_endpoint_knows_who_sent_it(front: Front) -> None:
    async with client(front, "/known/room?secret=1", bearer(sub="7")) as socket:
        assert await socket.recv() == "7"
        assert await heard(socket, "grüße") == "grüße"
        assert await heard(socket, b"x" * 100_000) == b"x" * 100_000
        assert front.edge.gauges.tunnels_open == 1
        assert front.edge.load.requests_open == 0
        assert socket.response is not None
        assert socket.response.headers["x-own"] == "1"
        assert len(socket.response.headers["x-request-id"]) == 32

    line = await front.line()
    assert (line["status"], line["reason"], line["path"], line["user_id"]) == (101, "local", "/known/room", "7")
    assert "secret" not in str(front.lines)


async def test_a_public_one_is_for_anybody(front: Front) -> None:
    async with client(front, "/local") as socket:
        assert await socket.recv() == "nobody"


REFUSED = {
    "nobody": (b"/known", (), 401, "token-missing"),
    "a role too low": (b"/managed", (TOKEN,), 403, "role-not-allowed"),
    "no row": (b"/nowhere", (), 404, "route-not-found"),
}


@pytest.mark.parametrize(("path", "fields", "status", "kind"), REFUSED.values(), ids=REFUSED)
async def test_who_is_not_let_in_is_refused_with_a_problem_and_may_try_again(
    front: Front, path: bytes, fields: tuple[bytes, ...], status: int, kind: str
) -> None:
    async with front.calling() as caller:
        await caller.send(handshake(path, *fields))
        refused = await caller.answer()
        await caller.send(handshake(b"/local"))

        assert (refused.status, refused.problem["type"]) == (status, kind)
        assert (await caller.head()).status == 101
        assert [line["status"] for line in front.answered] == [status]


ASKED = handshake(b"/local")
MALFORMED = {
    "two keys": handshake(b"/local", b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="),
    "no key": ASKED.replace(b"Sec-WebSocket-Key", b"X-Key"),
    "a field that is too long": handshake(b"/local", b"X-Long: " + b"x" * 9000),
    "extensions that cannot be read": handshake(b"/local", b"Sec-WebSocket-Extensions: ;;"),
    "another version": ASKED.replace(b"Version: 13", b"Version: 8"),
}


@pytest.mark.parametrize("asked", MALFORMED.values(), ids=MALFORMED)
async def test_a_handshake_that_cannot_be_read_is_refused_and_the_connection_ends(front: Front, asked: bytes) -> None:
    async with front.calling() as caller:
        await caller.send(asked)
        refused = await caller.answer()

        assert (refused.status, refused.problem["type"]) == (400, "head-malformed")
        assert await caller.is_cut()
        assert (await front.line())["reason"] == "head_malformed"


async def test_who_speaks_another_version_is_told_ours(front: Front) -> None:
    refused = await front.ask(MALFORMED["another version"])

    assert refused.first(b"sec-websocket-version") == b"13"


@pytest.mark.parametrize(("path", "status"), [("/local/refused", 403), ("/local/broken", 500)])
async def test_what_the_endpoint_refuses_is_refused(front: Front, path: str, status: int) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with client(front, path):
            pass

    assert refused.value.response.status_code == status
    await eventually(lambda: len(front.answered) == 1)


async def test_frames_behind_the_handshake_arrive(front: Front) -> None:
    async with front.calling() as caller:
        await caller.send(handshake(b"/local") + MASKED_HI * 3)
        assert (await caller.head()).status == 101

        assert await caller.reader.readexactly(8 + 3 * len(HI)) == b"\x81\x06nobody" + HI * 3


@pytest.mark.parametrize("leave", LEAVES.values(), ids=LEAVES)
async def test_a_client_that_vanishes_is_counted_out(front: Front, leave: Leave) -> None:
    async with front.calling() as caller:
        await caller.send(handshake(b"/local") + MASKED_HI)
        await caller.head()
        leave(caller)

        line = await front.line()
        assert (line["status"], line["reason"]) == (101, "local")
        await eventually(lambda: not front.tasks())


async def test_it_ends_with_its_token(front: Front) -> None:
    token = {"authorization": f"Bearer {dying_token(0.7)}"}
    async with client(front, "/known", token) as socket:
        await socket.wait_closed()

    assert (socket.close_code, socket.close_reason) == (1008, "token_expired")
    assert (await front.line())["reason"] == "token_expired"


async def test_it_ends_when_its_token_is_withdrawn(front: Front) -> None:
    async with client(front, "/known", {"authorization": f"Bearer {a_token(sub='local-leaver')}"}) as socket:
        await socket.recv()
        withdraw(front, sub="local-leaver")
        await socket.wait_closed()

    assert (socket.close_code, socket.close_reason) == (1008, "token_withdrawn")


async def test_it_ends_with_the_run_that_opened_it(front: Front) -> None:
    run = begin_run()
    async with client(front, "/known", {"authorization": f"Bearer {a_run_token(run)}"}) as socket:
        await socket.recv()
        end_run(run)
        await socket.wait_closed()

    assert (socket.close_code, socket.close_reason) == (1008, "run_over")


async def test_a_process_that_ends_says_so_at_once() -> None:
    with ExitStack() as process:
        front = process.enter_context(running_doorway(echo))
        async with asyncio.TaskGroup() as ending, client(front, "/local") as socket:
            await socket.recv()
            ending.create_task(asyncio.to_thread(process.close))
            await socket.wait_closed()

    assert socket.close_code == 1012
