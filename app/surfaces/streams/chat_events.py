"""The WebSocket of a chat: the handshake, and the server's side of the conversation (`chat_socket.py`).

A page cannot send a field with its handshake, so its token may be a subprotocol, `portico.bearer.TOKEN`, which the
edge has read. A browser gives up unless one of the subprotocols it named is chosen: offer `portico.events` beside it.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from dishka.integrations.litestar import FromDishka, inject_websocket
from litestar import WebSocket
from litestar.exceptions import WebSocketException
from litestar.handlers import websocket
from litestar.params import FromPath

from app.edge.asgi_client import Client
from app.edge.asgi_handshake import as_handshake
from app.edge.headers import BEARER_PROTOCOL
from app.features.chats.use_cases.read_chat import ReadChat
from app.infra.events.ports import RunsCursor
from app.kernel.errors import Fault
from app.kernel.ids import ChatId
from app.surfaces.connection import principal_of, read_id
from app.surfaces.streams.chat_socket import CLOSE_CODES, ChatDoor, ChatSocket, Hear, Say, place_of
from app.surfaces.streams.open_streams import Ending

PROTOCOL = "portico.events"

# Any: the user, auth and state of a Litestar socket, none of which we use
AnySocket = WebSocket[Any, Any, Any]


@websocket("/api/v1/chats/{chat_id:str}/events")
@inject_websocket
async def chat_events(
    socket: AnySocket, chat_id: FromPath[str], door: FromDishka[ChatDoor], read_chat: FromDishka[ReadChat]
) -> None:
    try:
        who, number = principal_of(socket), ChatId(read_id("chat_id", chat_id))
        await read_chat(who, number)
        after = await place_of(door.log, number, socket.query_params.get("after", ""))
    except Fault as fault:
        await _refuse(socket, fault)
        return
    await socket.accept(subprotocols=_chosen(socket.scope["subprotocols"]))
    request_id = str(socket.scope["state"].get("request_id", ""))
    conversation = ChatSocket(door, who, number, request_id, _hearing(socket), _saying(socket))
    await _say_goodbye(socket, *await conversation.run(after))


async def _refuse(socket: AnySocket, fault: Fault) -> None:
    """Answer the handshake like a request."""
    await socket.receive()  # the server's `websocket.connect`
    record = socket.scope["state"]["edge_record"]
    await Client(record, as_handshake(socket.scope, socket.send)).refuse(fault)  # type: ignore[arg-type] # ASGI's types


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
