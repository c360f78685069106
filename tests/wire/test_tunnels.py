"""WebSockets through the front door, spoken by the `websockets` library on both sides."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.e2e.certificate import self_signed
from tests.wire.doorway import running_doorway
from tests.wire.front import Front
from tests.wire.hostile import eventually

MEGABYTE = 1024**2
PATIENCE_S = 20
MANY = 3000
LIMIT_BYTES = 16 * MEGABYTE

type Serve = Callable[[ServerConnection], Awaitable[None]]


@pytest.fixture(scope="module")
def front_gateway() -> Iterator[Front]:
    with running_doorway(max_connections=1000) as front:
        yield front


@pytest.fixture(autouse=True)
async def _all_tunnels_end(front: Front) -> AsyncIterator[None]:
    yield
    await eventually(lambda: front.edge.gauges.tunnels_open == 0)


@asynccontextmanager
async def upstream(
    front: Front, script: Serve, *, patience_s: float = PATIENCE_S, **options: object
) -> AsyncIterator[None]:
    """Listen behind the gateway; whatever a test does meanwhile has its deadline."""
    given: Any = {"max_size": LIMIT_BYTES, **options}  # Any: what the library takes
    async with asyncio.timeout(patience_s), serve(script, "127.0.0.1", front.upstream_port, **given):
        yield


def client(front: Front, path: str = "/ws", **options: object) -> connect:
    given: Any = {"max_size": LIMIT_BYTES, "proxy": None, **options}  # Any: what the library takes
    return connect(f"ws://127.0.0.1:{front.port}{path}", **given)


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


MESSAGES: dict[str, str | bytes] = {
    "text": "grüße",
    "bytes": bytes(range(256)),
    "empty": "",
    "126 bytes": b"x" * 126,
    "65536 bytes": b"x" * 65536,
    "8 MB": b"0123456789abcdef" * (8 * MEGABYTE // 16),
}


@pytest.mark.parametrize("compression", [None, "deflate"])
@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
async def test_a_message_comes_back_as_it_was(front: Front, message: str | bytes, compression: str | None) -> None:
    async with upstream(front, echo, compression=compression), client(front, compression=compression) as socket:
        await socket.send(message)
        echoed = await socket.recv()

    assert echoed == message


async def test_a_message_in_fragments_arrives_in_fragments(front: Front) -> None:
    pieces = ["one ", "two ", "", "three"]
    received: list[str | bytes] = []

    async def script(connection: ServerConnection) -> None:
        received.extend([piece async for piece in connection.recv_streaming()])
        await connection.send(iter(pieces))

    async with upstream(front, script), client(front) as socket:
        await socket.send(iter(pieces))
        echoed = [piece async for piece in socket.recv_streaming()]

    assert received[: len(pieces)] == echoed[: len(pieces)] == pieces


async def test_thousands_of_tiny_messages_arrive_in_order(front: Front) -> None:
    async def talk(socket: ClientConnection) -> None:
        for number in range(MANY):
            await socket.send(str(number))

    async with (
        upstream(front, echo, compression=None),
        client(front, compression=None) as socket,
        asyncio.TaskGroup() as talking,
    ):
        talking.create_task(talk(socket))
        echoed = [await socket.recv() for _ in range(MANY)]

    assert echoed == [str(number) for number in range(MANY)]


async def test_signs_of_life_are_asked_and_given_end_to_end(front: Front) -> None:
    asked_by_upstream = asyncio.Event()

    async def script(connection: ServerConnection) -> None:
        await (await connection.ping(b"from the upstream"))
        asked_by_upstream.set()
        await echo(connection)

    async with upstream(front, script), client(front) as socket:
        await (await socket.ping(b"from the client"))
        await asked_by_upstream.wait()


async def test_subprotocol_and_extensions_are_agreed_end_to_end(front: Front) -> None:
    async with (
        upstream(front, echo, subprotocols=["chat.v2", "chat.v1"]),
        client(front, subprotocols=["chat.v1", "chat.v2"]) as socket,
    ):
        assert socket.subprotocol == "chat.v2"
        assert [one.name for one in socket.protocol.extensions] == ["permessage-deflate"]
        assert socket.response is not None
        assert "x-request-id" in socket.response.headers


CODES = [(1000, ""), (1001, "bye"), (1008, "no"), (1011, "broken"), (3000, "ours"), (4999, "x" * 123)]


@pytest.mark.parametrize(("code", "reason"), CODES)
async def test_the_clients_close_reaches_the_upstream(front: Front, code: int, reason: str) -> None:
    heard: asyncio.Future[ConnectionClosed] = asyncio.get_running_loop().create_future()

    async def script(connection: ServerConnection) -> None:
        try:
            await connection.recv()
        except ConnectionClosed as closed:
            heard.set_result(closed)

    async with upstream(front, script), client(front) as socket:
        await socket.close(code, reason)
        closed = await heard

    assert closed.rcvd is not None
    assert (closed.rcvd.code, closed.rcvd.reason) == (code, reason)
    assert (socket.close_code, socket.close_reason) == (code, reason)
    line = await front.line()
    assert (line["status"], line["reason"]) == (101, "proxied")


@pytest.mark.parametrize(("code", "reason"), CODES)
async def test_the_upstreams_close_reaches_the_client(front: Front, code: int, reason: str) -> None:
    async def script(connection: ServerConnection) -> None:
        await connection.close(code, reason)

    async with upstream(front, script), client(front) as socket:
        await socket.wait_closed()

    assert (socket.close_code, socket.close_reason) == (code, reason)
    line = await front.line()
    assert (line["status"], line["reason"]) == (101, "proxied")


async def test_an_upstream_that_ends_without_a_word_cuts_the_client_off_at_once(front: Front) -> None:
    async def script(connection: ServerConnection) -> None:
        await connection.send("half a")
        connection.transport.abort()

    async with upstream(front, script), client(front) as socket:
        assert await socket.recv() == "half a"
        await asyncio.wait_for(socket.wait_closed(), 1)

    assert socket.close_code == 1006
    line = await front.line()
    assert (line["status"], line["reason"]) == (101, "upstream_broken")


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Front, ssl.SSLContext]]:
    paths = self_signed(tmp_path_factory.mktemp("tls"))
    with running_doorway(tls=paths) as front:
        yield front, ssl.create_default_context(cafile=str(paths[0]))


async def test_over_tls_messages_closes_and_cuts_arrive_as_well(encrypted: tuple[Front, ssl.SSLContext]) -> None:
    async def script(connection: ServerConnection) -> None:
        async for message in connection:
            if message == "close":
                await connection.close(4000, "asked for")
            elif message == "cut":
                connection.transport.abort()
            else:
                await connection.send(message)

    front, context = encrypted
    url = f"wss://localhost:{front.port}/ws"
    async with upstream(front, script):
        for words, code in (("close", 4000), ("cut", 1006)):
            async with connect(url, ssl=context, proxy=None, max_size=LIMIT_BYTES) as socket:
                await socket.send(b"x" * MEGABYTE)
                assert await socket.recv() == b"x" * MEGABYTE
                await socket.send(words)
                await asyncio.wait_for(socket.wait_closed(), 1)

                assert socket.close_code == code
        await eventually(lambda: front.edge.gauges.tunnels_open == front.edge.gauges.connections_open == 0)


async def test_the_line_of_a_tunnel_tells_its_length_and_its_bytes(front: Front) -> None:
    async with (
        upstream(front, echo, compression=None),
        client(front, "/ws/room?name=blue", compression=None) as socket,
    ):
        await socket.send(b"x" * 100)
        await socket.recv()
        assert front.answered == []

    line = await front.line()
    assert line["path"] == "/ws/room"
    assert line["route"] == "/ws/*"
    assert (line["bytes_in"], line["bytes_out"]) == (6 + 100 + 6 + 2, 2 + 100 + 2 + 2)
    assert line["seconds"] > 0
    assert line["endpoint"] == f"127.0.0.1:{front.upstream_port}"


@dataclass(slots=True)
class Crowd:
    """So many clients, each with its own words."""

    front: Front
    size: int
    messages: int
    echoed: int = 0

    async def meet(self) -> None:
        async with asyncio.TaskGroup() as crowd:
            for number in range(self.size):
                crowd.create_task(self._one(number))

    async def _one(self, number: int) -> None:
        async with client(self.front, open_timeout=60) as socket:
            for turn in range(self.messages):
                await socket.send(f"{number}/{turn}")
                assert await socket.recv() == f"{number}/{turn}"
                self.echoed += 1


@pytest.mark.parametrize(
    ("size", "messages"), [(40, 5), pytest.param(500, 100, marks=[pytest.mark.soak, pytest.mark.timeout(300)])]
)
async def test_each_of_many_hears_only_its_own(front: Front, size: int, messages: int) -> None:
    crowd = Crowd(front, size, messages)

    async with upstream(front, echo, patience_s=240):
        await crowd.meet()

    assert crowd.echoed == size * messages
    print(f"{size} tunnels, {crowd.echoed} messages echoed")  # noqa: T201 - a soak tells its counts
    await eventually(lambda: len(front.answered) == size)
    assert {(line["status"], line["reason"]) for line in front.answered} == {(101, "proxied")}
