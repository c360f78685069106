"""A client's socket: how fast it is read and written, and the ways it ends. What is said on it is `protocol.py`'s."""

import asyncio
import socket
import struct
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, cast

from uvicorn.server import ServerState

from app.edge.protocol_clock import ClientClock, Late
from app.edge.protocol_paused import PausedClients
from app.kernel.errors import Fault

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def _to_nobody(data: bytes) -> None:
    del data


class Exchange(Protocol):
    """Who serves a request: a `Splice` (what it hears is told there), a `Tunnel` or a `LocalExchange`."""

    def expect_body(self) -> None:
        """Hear, before it begins, that the request has a body."""

    def begin(self) -> None: ...
    def take(self, piece: bytes) -> None: ...
    def take_end(self) -> None: ...
    def refuse(self, fault: Fault) -> None: ...
    def leave(self) -> None: ...
    def wait(self) -> None: ...
    def go_on(self) -> None: ...


class ClientSocket(asyncio.Protocol):
    """`write` is the transport's own. Two reasons may stop reading: `hold` by who serves, `flood` by what waits."""

    __slots__ = (
        "_clock", "_has_paused", "_is_held", "_is_paused", "_loop", "_paused_clients", "_transport", "_unsent_bytes",
        "_watched", "is_congested", "is_deaf", "server_state", "write",
    )  # fmt: skip

    def __init__(self, server_state: ServerState, loop: asyncio.AbstractEventLoop) -> None:
        self.server_state = server_state
        self._loop = loop
        self._clock = ClientClock(loop, self._on_late)
        self._transport: asyncio.Transport
        self.write: Callable[[bytes], None]
        self._unsent_bytes = 0
        self._paused_clients: PausedClients
        self._watched: int | None = None
        self._is_held = self._is_paused = False
        self._has_paused = False
        """since somebody last asked how fast the client sends"""
        self.is_congested = False
        """the client takes bytes slower than they come"""
        self.is_deaf = False
        """whatever still arrives is dropped"""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.write = self._transport.write

    @property
    def stream(self) -> socket.socket | None:
        found: socket.socket | None = self._transport.get_extra_info("socket")
        return found

    def open_tunnel(self) -> None:
        """Take whatever comes from now on for the tunnel's."""
        raise NotImplementedError

    def spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Start work that the server waits for when it stops."""
        task = self._loop.create_task(work)
        tasks = self.server_state.tasks
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return task

    def pause_reading(self) -> None:
        self._is_held = True
        self._pace()

    def resume_reading(self) -> None:
        if self._is_held:
            self._is_held = False
            self._pace()

    def _pace(self) -> None:
        """Read, or leave it with the client, as all reasons together say."""
        should_pause = self._is_held or self._is_flooded()
        if should_pause is self._is_paused or self._transport.is_closing():
            return
        self._is_paused = should_pause
        stream = self.stream
        if not should_pause:
            self._watch_no_more()
            self._transport.resume_reading()
            return
        self._has_paused = True
        self._transport.pause_reading()
        if stream is not None:
            self._watched = self._paused_clients.watch(stream, self._transport.abort)

    def _watch_no_more(self) -> None:
        """Must be called before the socket is closed: another may get its number."""
        watched, self._watched = self._watched, None
        if watched is not None:
            self._paused_clients.forget(watched)

    def _is_flooded(self) -> bool:
        raise NotImplementedError

    def _note_congestion(self, patience_s: float) -> None:
        self.is_congested = True
        self._unsent_bytes = self._transport.get_write_buffer_size()
        self._clock.expect_room(patience_s)

    def _note_room(self) -> None:
        self.is_congested = False
        self._clock.expect_no_room()

    def _has_taken_bytes(self) -> bool:
        before, self._unsent_bytes = self._unsent_bytes, self._transport.get_write_buffer_size()
        return self._unsent_bytes < before

    def _on_late(self, what: Late) -> None:
        raise NotImplementedError

    def _close(self, patience_s: float) -> None:
        """Close when everything is sent, or when the client takes no more of it."""
        self.is_deaf = True
        self._clock.expect_nothing()
        self._transport.close()
        if self._transport.get_write_buffer_size():
            self._note_congestion(patience_s)

    def _say_farewell(self, patience_s: float) -> None:
        """End our side, and read past what the client still sends: a reset would take the answer from it.

        Source: RFC 9112 §9.6.
        """
        self.is_deaf = True
        self._is_held = False
        self._unsent_bytes = self._transport.get_write_buffer_size()
        self._pace()
        if self._transport.is_closing():
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._clock.expect(Late.FAREWELL, patience_s)

    def _come_apart(self) -> None:
        """Let go of whatever leads back here: what holds itself stays until somebody searches for it."""
        self._clock.end()
        self.write = _to_nobody

    def _reset(self) -> None:
        """End the connection so that it cannot be taken for an end of the answer."""
        self.is_deaf = True
        stream: Any = self._transport.get_extra_info("socket")
        if stream is not None and stream.family != socket.AF_UNIX:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._transport.abort()


def host_of(address: object) -> str:
    """Tell the host of a socket's address; a Unix socket's peer is ""."""
    return str(address[0]) if isinstance(address, tuple) else ""


def server_of(address: object) -> tuple[str, int | None] | None:
    """Tell our own end of a connection as ASGI does: host and port, or the path of a Unix socket and None."""
    if isinstance(address, tuple):
        return str(address[0]), int(address[1])
    return (str(address), None) if address else None
