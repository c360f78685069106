"""The client's side of one request over ASGI: its body, bounded, and its answer, completed with what the edge adds."""

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from app.edge.answers import completed, note_refusal, refusal
from app.edge.faults import UNFRAMED, BodyTooLarge
from app.edge.headers import is_event_stream
from app.edge.record import Answer, Record
from app.kernel.errors import Fault

# the ASGI specification's own types: scopes and messages are mappings of whatever the message is
type Scope = MutableMapping[str, Any]
type Message = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[Message]]
type Send = Callable[[Message], Awaitable[None]]
type ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


def _nothing(record: Record) -> None:
    del record


class ClientGone(Exception):
    """The client closed the connection before it had the whole answer."""


@dataclass(slots=True)
class Client:
    """The client's side of one request: completes every answer with what the edge adds, and counts it."""

    record: Record
    _send: Send
    on_stream: Callable[[Record], None] = _nothing
    """called when an answer begins that may be silent for hours"""
    is_started: bool = False
    is_answered: bool = False
    """the last byte was handed to the server"""

    async def send(self, message: Message) -> None:
        """Pass on an ASGI message of whoever answers. Errors: ClientGone."""
        if message["type"] == "http.response.start":
            self.is_started = True
            self.record.status = message["status"]
            if is_event_stream(message.get("headers", ())):
                self.on_stream(self.record)
            message = {**message, "headers": completed(self.record, message.get("headers", ()))}
        elif message["type"] == "http.response.body":
            self.record.bytes_out += len(message.get("body", b""))
        try:
            await self._send(message)
        except OSError:
            raise ClientGone from None
        self.is_answered = message["type"] == "http.response.body" and not message.get("more_body", False)

    async def answer(self, answer: Answer) -> None:
        length = [] if answer.status == 204 else [(b"content-length", b"%d" % len(answer.body))]
        body = b"" if self.record.method == b"HEAD" else answer.body
        await self.send({"type": "http.response.start", "status": answer.status, "headers": [*answer.headers, *length]})
        await self.send({"type": "http.response.body", "body": body})

    async def refuse(self, fault: Fault) -> None:
        """Answer with a problem; where an answer has begun, leave it broken off, so that nobody takes it as whole."""
        if self.is_started:
            note_refusal(self.record, fault)
            return
        answer = refusal(self.record, fault)
        if isinstance(fault, UNFRAMED):
            answer.headers.append((b"connection", b"close"))
        try:
            await self.answer(answer)
        except ClientGone:
            self.record.reason = "client_gone"


def limited(record: Record, receive: Receive) -> Receive:
    """Count a local request's body, and refuse what is longer than the row allows, chunked or not."""
    route = record.route

    async def counted() -> Message:
        message = await receive()
        if message["type"] == "http.request":
            record.bytes_in += len(message.get("body", b""))
            if route is not None and record.bytes_in > route.max_body_bytes:
                raise BodyTooLarge(f"This route takes bodies of up to {route.max_body_bytes} bytes.")
        return message

    return counted
