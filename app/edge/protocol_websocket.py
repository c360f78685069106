"""A local WebSocket: uvicorn's own protocol takes the connection over, with what was decided at the handshake.

Facts:
- uvicorn reads a handshake by itself, out of bytes, and more strictly than the edge reads heads; one it cannot read is
  neither answered nor closed. So it is read before the connection is handed over, and refused by the edge.
- It logs each handshake with its query, where tokens may stand.
- It asks the client for a sign of life every 20 s, waits 20 s for it, and closes behind what is not sent yet; for a
  client that does not read that is never, so TCP is asked to give up, too.
- It says 1012 (service restart) at once when the server is told to stop.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.frames import CloseCode
from websockets.http11 import Request

from app.edge.asgi_handshake import SWITCHING
from app.edge.faults import HeadMalformed
from app.edge.record import Record
from app.edge.tcp import watch_peer
from app.edge.token_watch import TokenWatch
from app.edge.tokens import TokenVerifier

_SPOKEN = {"sec-websocket-version": "13"}
"""RFC 6455 §4.2.2"""
_log = logging.getLogger("uvicorn.error.websocket")
_log.setLevel(logging.WARNING)


class LocalWebSocket(WebSocketsSansIOProtocol):
    """The record travels in the state: it is all that crosses to the application (`asgi.py`), which finishes it.

    Ends with the token, and with its withdrawal, like a tunnel. `on_lost` is called once, when the connection is gone.
    """

    def __init__(
        self,
        record: Record,
        on_lost: Callable[[], None],
        config: uvicorn.Config,
        server_state: ServerState,
        state: dict[str, Any],  # Any: the ASGI state is whatever its makers put there
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(config, server_state, {**state, "edge_record": record}, loop)
        self.logger = _log
        self.default_headers = [one for one in server_state.default_headers if one[0] != b"connection"]
        self._record = record
        self._on_lost = on_lost
        self._handshake = self._read_handshake(record)
        self._watch: TokenWatch | None = None

    def take_over(self, transport: asyncio.Transport, tokens: TokenVerifier, received: bytes) -> None:
        """Go on with a connection; `received` came behind the handshake."""
        self.connection_made(transport)
        transport.set_protocol(self)
        watch_peer(transport.get_extra_info("socket"))
        self.handle_connect(self._handshake)
        if self._record.principal is not None:
            self._watch = TokenWatch(tokens, self._record.principal, self._on_token_end)
            self._watch.begin()
        if received:
            self.data_received(received)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watch is not None:
            self._watch.stop()
        super().connection_lost(exc)
        self._on_lost()

    def _read_handshake(self, record: Record) -> Request:
        """Errors: HeadMalformed."""
        self.conn.receive_data(handshake_of(record))
        read = next((event for event in self.conn.events_received() if isinstance(event, Request)), None)
        if read is None:
            raise HeadMalformed("The WebSocket handshake cannot be read.")
        if self.conn.accept(read).status_code != SWITCHING:
            wrong = f"The WebSocket handshake is malformed: {self.conn.handshake_exc}."
            raise HeadMalformed(wrong, headers=_SPOKEN)
        return read

    def _on_token_end(self, reason: str) -> None:
        self._record.reason = reason
        if self.close_sent or self.transport.is_closing():
            return
        if not self.handshake_complete:
            self.transport.close()
            return
        self.stop_keepalive()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": CloseCode.POLICY_VIOLATION, "reason": reason})
        self.conn.send_close(CloseCode.POLICY_VIOLATION, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.transport.close()


def handshake_of(record: Record) -> bytes:
    """Write the handshake again, byte for byte but for the case of names."""
    target = record.path + (b"?" + record.query if record.query else b"")
    lines = [b"%b: %b\r\n" % field for field in record.headers]
    return b"%b %b HTTP/1.1\r\n%b\r\n" % (record.method, target, b"".join(lines))
