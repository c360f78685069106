"""The handshake of our WebSockets, and their goodbye.

A page cannot send a field with its handshake, so its token may be a subprotocol, `portico.bearer.TOKEN`, which the
edge has read. A browser gives up unless one of the subprotocols it named is chosen: offer `portico.events` beside it.
A close reason has at most 123 bytes (RFC 6455 §5.5); ours holds the cursor to read on from.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from litestar import WebSocket
from litestar.exceptions import WebSocketException

from app.edge.asgi_client import Client
from app.edge.asgi_handshake import as_handshake
from app.edge.headers import BEARER_PROTOCOL
from app.infra.events.ports import RunsCursor
from app.kernel.errors import Fault
from app.surfaces.streams.conversation import CLOSE_CODES, Conversation, Desk, Hear, Say
from app.surfaces.streams.open_streams import Ending, OpenStreams

PROTOCOL = "portico.events"

# Any: the user, auth and state of a Litestar socket, none of which we use
AnySocket = WebSocket[Any, Any, Any]


async def converse(
    socket: AnySocket, streams: OpenStreams, desk: Desk, after: RunsCursor | None, *, welcome: str | None = None
) -> None:
    """Accept a client, and stay with it until there is a reason to end."""
    await socket.accept(subprotocols=_chosen(socket.scope["subprotocols"]))
    conversation = Conversation(streams, desk, _hearing(socket), _saying(socket))
    if welcome is not None:
        with suppress(OSError):  # it left at once, which the conversation finds, too
            await conversation.say(welcome)
    await _say_goodbye(socket, *await conversation.run(after))


async def refuse(socket: AnySocket, fault: Fault) -> None:
    """Answer the handshake like a request."""
    await socket.receive()  # the server's `websocket.connect`
    record = socket.scope["state"]["edge_record"]
    await Client(record, as_handshake(socket.scope, socket.send)).refuse(fault)  # type: ignore[arg-type] # ASGI's types


def request_id_of(socket: AnySocket) -> str:
    return str(socket.scope["state"].get("request_id", ""))


def _chosen(offered: Sequence[str]) -> str | None:
    """Choose what a browser waits for: our name, else whatever comes first that is no token, else the token's."""
    if PROTOCOL in offered:
        return PROTOCOL
    others = [name for name in offered if not name.startswith(BEARER_PROTOCOL.decode())]
    return next(iter((*others, *offered)), None)


def _hearing(socket: AnySocket) -> Hear:
    async def hear() -> str | None:
        message = await socket.receive()
        if message["type"] != "websocket.receive":
            return None
        text = message.get("text")
        return text if text is not None else (message.get("bytes") or b"").decode("utf-8", "replace")

    return hear


def _saying(socket: AnySocket) -> Say:
    async def say(text: str) -> None:
        try:
            await socket.send({"type": "websocket.send", "bytes": None, "text": text})
        except WebSocketException as gone:
            raise ConnectionResetError from gone

    return say


async def _say_goodbye(socket: AnySocket, ending: Ending, cursor: RunsCursor | None) -> None:
    if ending is Ending.GONE:
        socket.scope["state"]["edge_record"].reason = "client_gone"
        return
    with suppress(OSError, WebSocketException):  # it left at the same moment
        await socket.close(CLOSE_CODES[ending], f"read on after {cursor}" if cursor else "come back")
