"""A local request on a client's own connection: an ASGI call, decided on already, its body counted already."""

import asyncio
from typing import Any
from urllib.parse import unquote

from app.edge.answers import refusal
from app.edge.asgi_client import ASGIApp, Message, Scope
from app.edge.edge import Edge
from app.edge.headers import Headers, field_lines, is_event_stream
from app.edge.protocol_line import ClientSocket
from app.edge.protocol_reply import Reply
from app.edge.record import Answer, Record
from app.kernel.errors import Fault

READ_AHEAD_BYTES = 64 * 1024


class AnswerIncomplete(RuntimeError):
    """The application sent more or less than it had declared, or something else than an answer."""


class LocalExchange:
    """One request handed to the application. Hears the same from the client's connection as `Splice` does."""

    __slots__ = (
        "_app", "_body", "_client", "_edge", "_fault", "_has_changed", "_has_room", "_has_started", "_head",
        "_is_body_whole", "_is_gone", "_is_over", "_left_bytes", "_reply", "_scope", "waits",
    )  # fmt: skip

    def __init__(self, edge: Edge, app: ASGIApp, client: ClientSocket, reply: Reply, scope: Scope) -> None:
        self._edge = edge
        self._app = app
        self._client = client
        self._reply = reply
        self._scope = scope
        self._body = bytearray()
        self._is_body_whole = True
        self._is_gone = self._is_over = self._has_started = self.waits = False
        self._fault: Fault | None = None
        self._head: Message | None = None
        self._left_bytes: int | None = None
        self._has_changed = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()

    def expect_body(self) -> None:
        self._is_body_whole = False

    def begin(self) -> None:
        self._has_changed.set()
        self._edge.turnstile.enter(self)

    # --- from the turnstile -------------------------------------------------------------------------------------------

    def be_served(self) -> None:
        self._has_started = True
        self._client.spawn(self._run())

    def be_turned_away(self) -> None:
        self._answer(self._edge.overloaded(self._reply.record))

    # --- from the client ----------------------------------------------------------------------------------------------

    def take(self, piece: bytes) -> None:
        self._body += piece
        if len(self._body) > READ_AHEAD_BYTES:
            self._client.pause_reading()
        self._has_changed.set()

    def take_end(self) -> None:
        self._is_body_whole = True
        self._has_changed.set()

    def refuse(self, fault: Fault) -> None:
        if self._has_started:
            self._fault = fault
            self._has_changed.set()
        elif not self._is_over:
            self._answer(refusal(self._reply.record, fault))

    def leave(self) -> None:
        self._is_gone = True
        if self._has_started:
            self._has_changed.set()
            self._has_room.set()
        elif not self._is_over:
            self.waits = False
            self._is_over = True
            self._reply.record.reason = "client_gone"
            self._edge.finish(self._reply.record)

    def wait(self) -> None:
        self._has_room.clear()

    def go_on(self) -> None:
        self._has_room.set()

    def _answer(self, answer: Answer) -> None:
        """Answer in the application's place, which was not asked."""
        self.waits = False
        self._is_over = True
        self._reply.answer(answer)
        self._edge.finish(self._reply.record)

    # --- from the application -----------------------------------------------------------------------------------------

    async def _run(self) -> None:
        await self._app(self._scope, self._receive, self._send)
        if not (self._is_over or self._is_gone):
            self._is_over = True
            self._reply.break_off()

    async def _receive(self) -> Message:
        while True:
            await self._has_changed.wait()
            self._has_changed.clear()
            if self._is_gone or self._is_over:
                return {"type": "http.disconnect"}
            if self._fault is not None:
                fault, self._fault = self._fault, None
                raise fault
            if self._body or self._is_body_whole:
                return self._next_piece()

    def _next_piece(self) -> Message:
        body, self._body = bytes(self._body), bytearray()
        self._client.resume_reading()
        return {"type": "http.request", "body": body, "more_body": not self._is_body_whole}

    async def _send(self, message: Message) -> None:
        await self._has_room.wait()
        if self._is_gone:
            raise OSError("the client is gone")
        if message["type"] == "http.response.start" and self._head is None:
            self._head = message
        elif message["type"] == "http.response.body" and self._head is not None and not self._is_over:
            self._write(self._head, message.get("body", b""), is_last=not message.get("more_body", False))
        else:
            raise AnswerIncomplete(f"{message['type']} is out of place")

    def _write(self, head: Message, piece: bytes, *, is_last: bool) -> None:
        reply = self._reply
        if not reply.is_started:
            self._start(head, whole_bytes=len(piece) if is_last else None)
        if self._left_bytes is not None and not reply.is_silent:
            self._left_bytes -= len(piece)
            if self._left_bytes < 0 or (is_last and self._left_bytes > 0):
                raise AnswerIncomplete("the body is not as long as the Content-Length says")
        reply.send(piece)
        if is_last:
            self._is_over = True
            self._has_changed.set()
            reply.end()

    def _start(self, head: Message, *, whole_bytes: int | None) -> None:
        """Send the head with the first of the body, when it is known whether that is all of it."""
        headers: Headers = [
            (bytes(name).lower(), bytes(value))
            for name, value in head.get("headers", ())
            if bytes(name).lower() not in {b"transfer-encoding", b"connection"}
        ]
        declared = [value for name, value in headers if name == b"content-length"]
        if declared:
            self._left_bytes = int(declared[0])
        elif whole_bytes is not None and head["status"] not in {204, 304}:
            headers.append((b"content-length", b"%d" % whole_bytes))
        is_open_ended = not declared and whole_bytes is None
        if is_event_stream(headers):
            self._edge.release(self._reply.record)
        start = self._reply.start_open_ended if is_open_ended else self._reply.start
        start(head["status"], field_lines(headers))


def scope_of(record: Record, *, server: tuple[str, int | None] | None, state: dict[str, Any]) -> Scope:
    """Write a request as an ASGI scope (ASGI specification, HTTP Connection Scope)."""
    path = record.path.decode("ascii")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": record.method.decode("ascii"),
        "scheme": record.scheme,
        "path": unquote(path) if "%" in path else path,
        "raw_path": record.path,
        "query_string": record.query,
        "root_path": "",
        "headers": list(record.headers),
        "server": server,
        "client": (record.peer, 0) if record.peer else None,
        "state": state,
    }
