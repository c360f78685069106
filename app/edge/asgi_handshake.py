"""A WebSocket handshake over ASGI: refused like any request, and its outcome noted for the log."""

from app.edge.asgi_client import Message, Scope, Send
from app.edge.record import Record

FORBIDDEN = 403
"""what a server answers to a handshake that is closed before it was accepted (ASGI specification, WebSocket close)"""


def as_handshake(scope: Scope, send: Send) -> Send:
    """Let a handshake be answered like a request; a server that cannot ("Websocket Denial Response") closes it."""
    can_answer = "websocket.http.response" in scope.get("extensions", {})

    async def sending(message: Message) -> None:
        if can_answer:
            await send({**message, "type": f"websocket.{message['type']}"})
        elif message["type"] == "http.response.start":
            await send({"type": "websocket.close", "code": 1008})

    return sending


def noting_handshake(record: Record, send: Send) -> Send:
    """Note what became of the handshake: 101, or the status it was refused with."""

    async def noting(message: Message) -> None:
        if record.status == 0:
            statuses = {"websocket.accept": 101, "websocket.close": FORBIDDEN}
            record.status = statuses.get(message["type"]) or message.get("status", 0)
        await send(message)

    return noting
