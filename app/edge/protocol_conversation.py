"""One request at a time on a client's connection: its body in, its answer out, and how either can fail.

Who is let in and who serves a request is decided in `protocol.py`; the socket itself is `protocol_line.py`.
"""

import asyncio

from uvicorn.server import ServerState

from app.edge import faults
from app.edge.chunked import ChunksMalformed
from app.edge.edge import Edge
from app.edge.protocol_body import BodyReader, EndlessBody, LengthBody, body_reader, slowness
from app.edge.protocol_clock import Late
from app.edge.protocol_intake import Intake
from app.edge.protocol_line import ClientSocket, Exchange
from app.edge.protocol_reply import Reply
from app.edge.proxy import framing_of
from app.edge.record import Answer
from app.kernel.errors import Fault

DISCARDED_BYTES = 64 * 1024
"""of an unwanted body, for the sake of the connection: behind more than that it is closed"""


class Conversation(ClientSocket):
    """`_reply` is there while a request is served, `_body` while more of its body is to come."""

    __slots__ = ("_body", "_body_from_bytes", "_edge", "_exchange", "_intake", "_reply", "_task", "keeps_alive")

    def __init__(self, server_state: ServerState, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(server_state, loop)
        self._edge: Edge
        self._intake = Intake()
        self._reply: Reply | None = None
        self._exchange: Exchange | None = None
        self._body: BodyReader | None = None
        self._body_from_bytes = 0
        self._task: asyncio.Task[None] | None = None
        """decides on the request, where that has to wait"""
        self.keeps_alive = True

    def _next_requests(self) -> None:
        """Serve what has arrived, until one request has to be waited for."""
        raise NotImplementedError

    def _refuse_head(self, fault: Fault, block: bytes = b"") -> None:
        """Answer what is no request, and close."""
        raise NotImplementedError

    # --- the answer ---------------------------------------------------------------------------------------------------

    def _answer(self, reply: Reply, answer: Answer) -> None:
        """Give an answer of the edge's own; what is left of the request is read past, if it is little."""
        record = reply.record
        self._body = body = body_reader(record, framing_of(record))
        if body is not None:
            self._read_past(body)
            self.keeps_alive &= record.first(b"expect") is None
        reply.answer(answer)
        self._edge.finish(record)

    def _answer_last(self, reply: Reply, answer: Answer) -> None:
        self._body = None
        self.keeps_alive = False
        self.is_deaf = True
        reply.answer(answer)
        self._edge.finish(reply.record)

    def _read_past(self, body: BodyReader) -> None:
        """Drop what has come of a body that nobody wants."""
        try:
            body.feed(self._intake.take_all())
        except ChunksMalformed:
            self.keeps_alive = False
            self.is_deaf = True
        if body.is_complete:
            self._body = None
            self._intake.put_back(body.surplus)

    def on_answer_begins(self) -> None:
        """Say that the connection ends where much of the request, or nobody knows how much, is still to come."""
        body = self._body
        if body is not None and not body.is_complete:
            is_little = isinstance(body, LengthBody) and body.least_left_bytes <= DISCARDED_BYTES
            self.keeps_alive &= is_little

    def on_answered(self) -> None:
        """Hear that the answer was handed over whole."""
        self._reply = self._exchange = None
        self.server_state.total_requests += 1
        if self._is_held:
            self.resume_reading()
        options = self._edge.options
        if self._transport.is_closing():
            return
        if self.is_deaf or (not self.keeps_alive and (self._body is not None or self._intake.has_bytes)):
            self._say_farewell(options.farewell_s)
        elif not self.keeps_alive:
            self._close(options.client_write_s)
        elif self._body is not None:
            self._body_from_bytes = 0
            self._clock.expect(Late.BODY, options.body_idle_s)
        else:
            self._clock.expect(Late.IDLE, options.keep_alive_s)
            if self._intake.has_bytes:
                self._next_requests()

    def break_off(self) -> None:
        """Close so that nobody takes what was sent for whole: short of its length, without its last chunk, or reset."""
        options = self._edge.options
        reply, body, self._reply, self._exchange, self._body = self._reply, self._body, None, None, None
        if reply is not None and reply.is_close_delimited:
            self._reset()
        elif isinstance(body, EndlessBody) and self._transport.can_write_eof():  # with TLS only a close is an end
            self._say_farewell(options.client_write_s if self.is_congested else options.farewell_s)
        else:
            self._close(options.farewell_s)

    def _leave(self) -> None:
        """The client is gone: so is every reason to go on with its request."""
        self.is_deaf = True
        reply, exchange, task = self._reply, self._exchange, self._task
        self._reply = self._exchange = self._body = self._task = None
        if exchange is not None:
            exchange.leave()
        if task is not None and reply is not None:
            task.cancel()
            reply.record.reason = "client_gone"
            self._edge.finish(reply.record)

    def _come_apart(self) -> None:
        super()._come_apart()
        self._intake.end()

    # --- the request's body -------------------------------------------------------------------------------------------

    def open_tunnel(self) -> None:
        self._body = EndlessBody()
        self._feed_from_intake()
        self._pace()

    def _feed_from_intake(self) -> None:
        if self._body is not None and self._intake.has_bytes:
            self._intake.put_back(self._feed_body(self._intake.take_all()))

    def _feed_body(self, data: bytes) -> bytes:
        """Pass on what `data` holds of the body, and return what came behind it."""
        body = self._body
        if body is None:
            return data
        try:
            self._take(body.feed(data))
        except ChunksMalformed as malformed:
            self._refuse_body(faults.HeadMalformed(f"The body cannot be read: {malformed}."))
            return b""
        except Fault as fault:
            self._refuse_body(fault)  # too large: where it ends is known all the same
        if not body.is_complete:
            return b""
        self._body = None
        if self._exchange is not None:
            self._clock.expect_nothing()
            self._exchange.take_end()
        elif self._reply is None and not self.is_deaf:
            self._clock.expect(Late.IDLE, self._edge.options.keep_alive_s)
        return body.surplus

    def _take(self, piece: bytes) -> None:
        """Errors: faults.BodyTooLarge."""
        reply = self._reply
        if reply is None:
            self._body_from_bytes += len(piece)
            if self._body_from_bytes > DISCARDED_BYTES:
                self._say_farewell(self._edge.options.farewell_s)
            return
        record = reply.record
        record.bytes_in += len(piece)
        is_body = not isinstance(self._body, EndlessBody)
        if is_body and record.route is not None and record.bytes_in > record.route.max_body_bytes:
            raise faults.BodyTooLarge(f"This route takes bodies of up to {record.route.max_body_bytes} bytes.")
        if self._exchange is not None and piece:
            self._exchange.take(piece)

    def _refuse_body(self, fault: Fault) -> None:
        if not isinstance(fault, faults.BodyTooLarge):
            self.keeps_alive = False
            self.is_deaf = True
            self._body = None
        self._clock.expect_nothing()
        if self._exchange is not None:
            self._exchange.refuse(fault)
        else:
            self._say_farewell(self._edge.options.farewell_s)

    # --- what did not happen in time ----------------------------------------------------------------------------------

    def _is_flooded(self) -> bool:
        return self._intake.is_full and not self.is_deaf

    def _on_late(self, what: Late) -> None:
        if what is Late.BODY:
            self._on_slow_body()
        elif what is Late.WRITE:
            self._on_slow_reader()
        elif what is Late.HEAD and self._intake.has_bytes:
            self._refuse_head(faults.HeadTooSlow(f"The head was not complete after {self._edge.options.head_s:g} s."))
        elif what is Late.FAREWELL and self._has_taken_bytes():
            self._clock.expect(Late.FAREWELL, self._edge.options.farewell_s)
        else:
            self._close(self._edge.options.client_write_s)

    def _on_slow_body(self) -> None:
        options = self._edge.options
        reply = self._reply
        if reply is None:
            self._say_farewell(options.farewell_s)
            return
        came_bytes = reply.record.bytes_in - self._body_from_bytes
        fault = None if self._has_paused or reply.is_started else slowness(came_bytes, options)
        self._has_paused = self._is_paused
        if fault is not None:
            self._refuse_body(fault)
            return
        self._body_from_bytes = reply.record.bytes_in
        self._clock.expect(Late.BODY, options.body_idle_s)

    def _on_slow_reader(self) -> None:
        patience_s = self._edge.options.client_write_s
        if self._has_taken_bytes():
            self._clock.expect_room(patience_s)
            return
        if self._exchange is not None:
            self._exchange.refuse(faults.ClientTooSlow(f"The client took no byte for {patience_s:g} s."))
        self._transport.abort()
