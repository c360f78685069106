"""A local WebSocket: uvicorn's own protocol takes the connection over, with what was decided at the handshake."""

import asyncio
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

from app.edge.record import Record


class LocalWebSocket(WebSocketsSansIOProtocol):
    """The record travels in the state: it is all that crosses to the application (`asgi.py`)."""

    def __init__(
        self,
        on_lost: Callable[[], None],
        config: uvicorn.Config,
        server_state: ServerState,
        state: dict[str, Any],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(config, server_state, state, loop)
        self._on_lost = on_lost

    def take_over(self, transport: asyncio.Transport, received: bytes) -> None:
        """Go on with a connection whose handshake was read, and is read again."""
        self.connection_made(transport)
        transport.set_protocol(self)
        self.data_received(received)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._on_lost()


def handshake_of(record: Record) -> bytes:
    """Write the handshake again, byte for byte but for the case of names: the protocol reads it by itself."""
    target = record.path + (b"?" + record.query if record.query else b"")
    lines = [b"%b: %b\r\n" % field for field in record.headers]
    return b"%b %b HTTP/1.1\r\n%b\r\n" % (record.method, target, b"".join(lines))
