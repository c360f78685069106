"""An upstream that does what its script says, byte for byte; a runner that fails what leaves anything behind."""

import asyncio
import inspect
import os
import socket
import ssl
import stat
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import uvloop

from app.edge.answer_head import AnswerHead
from app.edge.upstream_exchange import Exchange
from app.edge.upstream_failures import UpstreamFailure
from app.edge.upstream_pool import Endpoint, UpstreamPool
from app.edge.upstream_sink import DEFAULT_DEADLINES, Deadlines

PATIENCE_S = 10.0
GET = b"GET /x HTTP/1.1\r\nhost: upstream\r\n\r\n"
POST = b"POST /x HTTP/1.1\r\nhost: upstream\r\ntransfer-encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
HI = OK + b"Content-Length: 2\r\n\r\nhi"

type Script = Callable[[Visit], Awaitable[None]]


class Visit:
    """One connection to the hostile upstream, seen from its side."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        self.reader = reader
        self.writer = writer
        self.number = number
        self.received = b""
        self.sent_bytes = 0

    async def request(self) -> bytes:
        """Read one request head."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        self.received += head
        return head

    async def send(self, answer: bytes) -> None:
        self.writer.write(answer)
        await self.writer.drain()
        self.sent_bytes += len(answer)

    async def dribble(self, answer: bytes) -> None:
        """Send each byte by itself."""
        for value in answer:
            await self.send(bytes((value,)))
            await asyncio.sleep(0)

    async def until_left(self) -> None:
        """Read until the other side is gone."""
        with suppress(ConnectionError):
            while piece := await self.reader.read(65536):
                self.received += piece

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        """Close with an RST instead of a FIN."""
        stream = self.writer.get_extra_info("socket")
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class HostileUpstream:
    def __init__(self, port: int) -> None:
        self.port = port
        self.visits: list[Visit] = []


@asynccontextmanager
async def hostile(
    script: Script, *, tls: ssl.SSLContext | None = None, port: int = 0
) -> AsyncIterator[HostileUpstream]:
    tasks: set[asyncio.Task[Any]] = set()  # the results of server tasks are nobody's

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        visit = Visit(reader, writer, len(upstream.visits))
        upstream.visits.append(visit)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await script(visit)
        finally:
            writer.close()
            tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", port, ssl=tls)
    upstream = HostileUpstream(server.sockets[0].getsockname()[1])
    try:
        yield upstream
    finally:
        await eventually(lambda: not _is_accepting())  # asyncio would drop such a connection without closing it
        server.close()
        for task in tuple(tasks):
            task.cancel()
        for visit in upstream.visits:
            visit.writer.transport.abort()
        await eventually(lambda: not tasks)


def _is_accepting() -> bool:
    """Whether a connection is accepted, and asyncio has not made a transport of it yet."""
    names = (getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks())
    return any(name.endswith("_accept_connection2") for name in names)


def answering(*answers: bytes) -> Script:
    """Answer the n-th request of each connection with the n-th answer, then wait for the other side to leave."""

    async def script(visit: Visit) -> None:
        for answer in answers:
            await visit.request()
            await visit.send(answer)
        await visit.until_left()

    return script


def answering_then_closing(answer: bytes) -> Script:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(answer)

    return script


async def silent(visit: Visit) -> None:
    """Read everything, say nothing."""
    await visit.until_left()


async def deaf(visit: Visit) -> None:
    """Read nothing, say nothing."""
    visit.writer.transport.pause_reading()  # type: ignore[attr-defined]  # the stream's transport can read as well
    await asyncio.sleep(3600)


async def eventually(is_true: Callable[[], bool]) -> None:
    """Wait for a fact; fail when it has not become true within PATIENCE_S."""
    async with asyncio.timeout(PATIENCE_S):
        while not is_true():  # noqa: ASYNC110 - the fact is seen from outside, nobody could set an event
            await asyncio.sleep(0.005)


def open_sockets() -> set[int]:
    """The inodes of this process's sockets."""
    found = set()
    for entry in Path("/dev/fd").iterdir():
        with suppress(OSError):
            status = os.fstat(int(entry.name))
            if stat.S_ISSOCK(status.st_mode):
                found.add(status.st_ino)
    return found


def on_both_loops(scenario: Callable[..., Coroutine[None, None, None]]) -> Callable[..., None]:
    """Run a scenario under asyncio and under uvloop, and fail it for each task and socket it leaves open."""

    async def leave_nothing(arguments: dict[str, object]) -> None:
        before = open_sockets()
        await scenario(**arguments)
        await eventually(lambda: open_sockets() <= before)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    def test(*, loop_factory: Callable[[], asyncio.AbstractEventLoop], **arguments: object) -> None:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(leave_nothing(arguments))

    parameters = inspect.signature(scenario).parameters
    loop_factory = inspect.Parameter("loop_factory", inspect.Parameter.KEYWORD_ONLY)
    # Not functools.wraps: pytest would look through it, to the coroutine.
    signature = inspect.Signature([*parameters.values(), loop_factory])
    vars(test).update(__signature__=signature)
    factories = [asyncio.new_event_loop, uvloop.new_event_loop]
    return pytest.mark.parametrize("loop_factory", factories, ids=["asyncio", "uvloop"])(test)


def pool_to(port: int, *, max_connections: int = 4) -> UpstreamPool:
    return UpstreamPool(Endpoint("127.0.0.1", port), max_connections=max_connections)


async def fetch(
    pool: UpstreamPool, *, method: bytes = b"GET", deadlines: Deadlines = DEFAULT_DEADLINES
) -> tuple[AnswerHead, bytes]:
    async with Exchange(await pool.acquire()) as exchange:
        exchange.begin(method, GET.replace(b"GET", method), deadlines=deadlines)
        head = await exchange.head()
        return head, b"".join([piece async for piece in exchange.body()])


async def fail(pool: UpstreamPool, *, deadlines: Deadlines = DEFAULT_DEADLINES) -> UpstreamFailure:
    with pytest.raises(UpstreamFailure) as caught:
        await fetch(pool, deadlines=deadlines)
    return caught.value
