"""A server that is a program of ours: started under a guard, spoken to in lines of JSON over its stdin and stdout.

Facts (MCP, transports)
- A message is one line of JSON; what a server writes to stderr is its log.
- A server is asked to end by closing its stdin; what is still there after a while is made to.
Rule: every line has a limit, and what stderr says is logged a little of, without secrets.
"""

import asyncio
import os
import shutil
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
import structlog
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client import Transport
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

from app.agents.mcp_client.away import ServerAway
from app.agents.mcp_client.server import Secrets, Server

LINE_LIMIT_BYTES = 8 * 1024 * 1024
STDERR_LINE_CHARS = 500
STDERR_LINES = 50
STDERR_WINDOW_S = 60.0
ENDING_S = 2.0
"""how long a server may take to end by itself once its stdin is closed"""
GONE_S = 5.0
"""how long the guard may take to end the others"""
GUARD = Path(__file__).with_name("guard.py")

type Incoming = SessionMessage | Exception
type Streams = tuple[MemoryObjectReceiveStream[Incoming], MemoryObjectSendStream[SessionMessage]]

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class ServerLog:
    """What a server says beside the protocol: a bounded number of bounded lines."""

    server: str
    secrets: Secrets
    now_s: Callable[[], float] = time.monotonic
    _until_s: float = 0.0
    _said: int = 0

    def hear(self, line: bytes) -> None:
        if self.now_s() >= self._until_s:
            if self._said > STDERR_LINES:
                log.info("mcp.server_said_more", server=self.server, lines=self._said - STDERR_LINES)
            self._until_s, self._said = self.now_s() + STDERR_WINDOW_S, 0
        self._said += 1
        text = self.secrets.hide(line.decode("utf-8", "replace").strip())
        if text and self._said <= STDERR_LINES:
            log.info("mcp.server_said", server=self.server, line=text[:STDERR_LINE_CHARS])


def stdio_transport(server: Server, on_end: Callable[[], None]) -> Transport:
    """Start the server when entered, end it when left; `on_end` is called when it says no more.

    Errors: ServerAway, when it cannot be started.
    """
    return _running(server, on_end)


@asynccontextmanager
async def _running(server: Server, on_end: Callable[[], None]) -> AsyncGenerator[Streams]:
    said = ServerLog(server.name, server.secrets)
    async with _program(server) as (process, let_go):
        incoming, read = anyio.create_memory_object_stream[Incoming](0)
        write, outgoing = anyio.create_memory_object_stream[SessionMessage](0)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_read, process, incoming, said, on_end)
            tasks.start_soon(_write, process, outgoing, incoming)
            tasks.start_soon(_listen, process, said)
            try:
                yield read, write
            finally:
                write.close()
                read.close()
                await _ended(process, let_go)
                tasks.cancel_scope.cancel()


@asynccontextmanager
async def _program(server: Server) -> AsyncGenerator[tuple[asyncio.subprocess.Process, Callable[[], None]]]:
    environment = dict(server.child_environment)
    command, *arguments = server.command
    found = shutil.which(command, path=environment.get("PATH"))
    if found is None:
        raise ServerAway(f"there is no program {server.row.command}")
    lifeline, ours = os.pipe()
    with ExitStack() as held:
        held.callback(os.close, ours)
        try:
            process = await _started([str(lifeline), found, *arguments], lifeline, environment, server.cwd)
        except OSError as error:
            raise ServerAway(f"it cannot be started: {error.strerror}") from error
        finally:
            os.close(lifeline)
        try:
            yield process, held.close
        finally:
            # nothing public closes what a process that left our group still holds the other end of
            process._transport.close()  # type: ignore[attr-defined] # noqa: SLF001


async def _started(
    guarded: list[str], lifeline: int, environment: dict[str, str], cwd: str | None
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        "-S",
        str(GUARD),
        *guarded,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
        cwd=cwd,
        pass_fds=(lifeline,),
        start_new_session=True,
        limit=LINE_LIMIT_BYTES,
    )


async def _read(
    process: asyncio.subprocess.Process,
    into: MemoryObjectSendStream[Incoming],
    said: ServerLog,
    on_end: Callable[[], None],
) -> None:
    """Hand on each message; what is no message is as good as said on stderr. Ends the session at the end of stdout."""
    assert process.stdout is not None  # noqa: S101 - it was asked for
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
        async with into:
            try:
                while line := await process.stdout.readline():
                    try:
                        message = jsonrpc_message_adapter.validate_json(line, by_name=False)
                    except ValueError:
                        said.hear(line)
                        continue
                    await into.send(SessionMessage(message))
            except ValueError:  # asyncio's word for a line beyond the limit
                log.warning("mcp.line_too_long", server=said.server, limit_bytes=LINE_LIMIT_BYTES)
            except ConnectionError as error:
                log.warning("mcp.pipe_broken", server=said.server, cause=repr(error))
            on_end()
    with suppress(ConnectionError):
        while await process.stdout.read(64 * 1024):  # a program that cannot write does not hear that it is to end
            pass


async def _write(
    process: asyncio.subprocess.Process,
    outgoing: MemoryObjectReceiveStream[SessionMessage],
    incoming: MemoryObjectSendStream[Incoming],
) -> None:
    assert process.stdin is not None  # noqa: S101 - it was asked for
    try:
        async with outgoing:
            async for message in outgoing:
                line = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                process.stdin.write(line.encode() + b"\n")
                await process.stdin.drain()
    except (ConnectionError, RuntimeError):  # the server reads no more: let who waits for an answer know
        await incoming.aclose()


async def _listen(process: asyncio.subprocess.Process, said: ServerLog) -> None:
    assert process.stderr is not None  # noqa: S101 - it was asked for
    rest = b""
    while piece := await process.stderr.read(4096):
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            said.hear(line)
        if len(rest) > 4 * STDERR_LINE_CHARS:
            said.hear(rest)
            rest = b""
    said.hear(rest)


async def _ended(process: asyncio.subprocess.Process, let_go: Callable[[], None]) -> None:
    """Let it end by itself; when its pipe closes, the guard ends what is left."""
    assert process.stdin is not None  # noqa: S101 - it was asked for
    process.stdin.close()
    with anyio.move_on_after(ENDING_S, shield=True):
        await process.wait()
    let_go()
    with anyio.move_on_after(GONE_S, shield=True):
        await process.wait()
