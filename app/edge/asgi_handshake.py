"""A WebSocket handshake over ASGI: refused like any request, and its outcome noted for the log."""

from app.edge.answers import completed
from app.edge.asgi_client import Message, Scope, Send
from app.edge.edge import Edge
from app.edge.record import Record

SWITCHING = 101
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


def noting_handshake(edge: Edge, record: Record, send: Send) -> Send:
    """Note what became of the handshake: 101, or the status it was refused with; count a WebSocket in."""

    async def noting(message: Message) -> None:
        if record.status == 0 and message["type"] == "websocket.accept":
            record.status = SWITCHING
            edge.gauges.tunnels_open += 1
            edge.release(record)
            message = {**message, "headers": completed(record, list(message.get("headers", ())))}
        elif record.status == 0:
            record.status = FORBIDDEN if message["type"] == "websocket.close" else message.get("status", 0)
        await send(message)

    return noting
