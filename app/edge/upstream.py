"""One HTTP/1.1 connection to an upstream, driven by callbacks: no task per request. Framing of the answer is in
`upstream_answer`, the pool in `upstream_pool`, the same for coroutines in `upstream_exchange`.

The one rule a reader may break by accident: after `on_end`, `on_broken` or `abort` the connection belongs to somebody
else. Drop the reference there, or the next request's answer is paused or aborted for no reason of its own.
"""

import asyncio
import os
import select
import socket
import ssl
from asyncio.trsock import TransportSocket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from math import inf
from typing import cast

from app.edge.answer_head import AnswerMalformed
from app.edge.upstream_answer import HEADS, AnswerParser
from app.edge.upstream_failures import Phase, UpstreamBroken, UpstreamFailure, UpstreamTimedOut
from app.edge.upstream_sink import DEFAULT_DEADLINES, AnswerSink, Deadlines

_LAST_WORDS_READS = 4
_TIMER_SLACK_S = 0.002
"""uvloop's clock ticks in milliseconds, so that a timer may come that much early."""


class UpstreamConnection(asyncio.Protocol):
    """Carry one exchange at a time.

    `on_idle` is called when an exchange left the connection fit for another, `on_lost` once when it is gone. It closes
    itself when the answer was cut, malformed, close-delimited, early (the request was not finished) or followed by
    more bytes, and when anything arrives while it is idle.
    """

    __slots__ = (
        "_allows_upgrade", "_deadlines", "_exchanges", "_is_answered", "_is_paused", "_is_request_done", "_loop",
        "_method", "_on_idle", "_on_lost", "_parser", "_poll", "_read_deadline", "_sink", "_timer", "_timer_at",
        "_transport", "_unsent_bytes", "_write_deadline", "idle_since", "is_writable",
    )  # fmt: skip

    def __init__(
        self, on_idle: Callable[["UpstreamConnection"], None], on_lost: Callable[["UpstreamConnection"], None]
    ) -> None:
        self._on_idle = on_idle
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._poll = select.poll()
        self._sink: AnswerSink | None = None
        self._parser: AnswerParser | None = None
        self._method = b""
        self._allows_upgrade = False
        self._deadlines = DEFAULT_DEADLINES
        self._exchanges = 0
        self._is_answered = self._is_paused = self._is_request_done = False
        self.is_writable = True
        self.idle_since = 0.0
        self._read_deadline = self._write_deadline = inf
        self._unsent_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = inf

    @property
    def was_reused(self) -> bool:
        """Whether the present exchange is not the first: only then may the upstream have closed it for being idle."""
        return self._exchanges > 1

    @property
    def is_connected(self) -> bool:
        return self._transport is not None

    def is_reusable(self, keepalive_s: float = inf) -> bool:
        """Tell whether another exchange may begin: it is idle, open, and nothing at all is waiting to be read.

        Cost: one system call. Bytes that reached the socket unasked would otherwise be read as the next answer.
        """
        transport = self._transport
        if self._sink is not None or transport is None or transport.is_closing():
            return False
        return self._loop.time() - self.idle_since < keepalive_s and not self._poll.poll(0)

    def begin(
        self,
        sink: AnswerSink,
        method: bytes,
        head: bytes,
        *,
        deadlines: Deadlines = DEFAULT_DEADLINES,
        body_follows: bool = False,
        allows_upgrade: bool = False,
    ) -> None:
        """Write a request head, framed by the caller, and whatever of the body is already at hand behind it.

        With `body_follows`, `finish` must be called behind the last `send`. A connection that was lost since it was
        acquired answers with `on_broken`, nothing sent.
        """
        if self._sink is not None:
            raise RuntimeError("an exchange is going on")
        transport = self._transport
        if transport is None or transport.is_closing():
            lost = UpstreamBroken("the connection was lost before the request", phase=Phase.SEND)
            self._loop.call_soon(sink.on_broken, lost)
            return
        self._sink, self._parser, self._method, self._allows_upgrade = sink, None, method, allows_upgrade
        self._deadlines = deadlines
        self._exchanges += 1
        self._is_answered, self._is_request_done = False, not body_follows
        transport.write(head)
        if body_follows:
            self._restart_clock()
        else:
            self._read_by(deadlines.response_timeout_s)

    def send(self, framed: bytes) -> None:
        """Write bytes of the request's body, framed by the caller; beyond the end of the answer they are dropped."""
        if self._sink is None or self._transport is None or self._transport.is_closing():
            return
        self._transport.write(framed)
        self._restart_clock()

    def finish(self) -> None:
        """Say that the request is complete."""
        if self._sink is not None:
            self._is_request_done = True
            self._restart_clock()

    def allow_idle(self, idle_timeout_s: float) -> None:
        """Set how long the answer may be silent from now on, after its head has told what it is."""
        if self._deadlines.idle_timeout_s != idle_timeout_s:
            self._deadlines = replace(self._deadlines, idle_timeout_s=idle_timeout_s)
            self._restart_clock()

    @property
    def stream(self) -> socket.socket | None:
        found: socket.socket | None = self._transport.get_extra_info("socket") if self._transport else None
        return found

    def close(self, last_words: bytes) -> None:
        """End a tunnel: send what waits, and the last words, and close behind them; the sink hears no more."""
        self._sink = None
        self._read_deadline = inf
        transport = self._transport
        if transport is None:
            return
        if last_words:
            transport.write(last_words)
        transport.close()
        self._unsent_bytes = transport.get_write_buffer_size()
        if self._unsent_bytes:
            self._write_deadline = self._loop.time() + self._deadlines.write_timeout_s
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(self._write_deadline, self._look_at_clock)

    def abort(self) -> None:
        """Close at once, whatever the state; the sink hears no more."""
        self._sink = None
        self._read_deadline = self._write_deadline = inf
        if self._transport is not None:
            self._transport.abort()

    def cut(self, message: str) -> None:
        """Close at once and tell the sink, if there is one."""
        self._fail(UpstreamBroken(message, phase=self._phase, sent=True, answered=self._is_answered))

    def pause_reading(self) -> None:
        """Leave the rest of the answer with the upstream; up to one read more may arrive."""
        if not self._is_paused and self._transport is not None and not self._transport.is_closing():
            self._is_paused = True
            self._transport.pause_reading()
            self._restart_clock()

    def resume_reading(self) -> None:
        if self._is_paused and self._transport is not None:
            self._is_paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()
                self._restart_clock()

    # --- from the transport -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        stream: socket.socket = transport.get_extra_info("socket")
        self._poll.register(stream.fileno(), select.POLLIN)
        if stream.family in {socket.AF_INET, socket.AF_INET6}:
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def data_received(self, data: bytes) -> None:
        sink = self._sink
        if sink is None:
            self.abort()  # nobody asked: these bytes must never reach the next request
        elif self._parser is not None or not self._take_whole(sink, data):
            self._take(sink, data)

    def _take_whole(self, sink: AnswerSink, data: bytes) -> bool:
        """Take an answer that came in one read, behind a head that came before: what nearly every answer is."""
        end = data.find(b"\r\n\r\n") + 4
        head = HEADS.known(data[:end]) if self._method != b"HEAD" else None
        if head is None or head.body_bytes != len(data) - end:
            return False
        self._is_answered = True
        sink.on_head(head, data[end:])
        if self._sink is sink:
            if head.is_persistent:
                self._give_back(sink)
            else:
                self._end(sink)
        return True

    def _take(self, sink: AnswerSink, data: bytes) -> None:
        parser = self._parser
        if parser is None:
            parser = self._parser = AnswerParser(self._method, allows_upgrade=self._allows_upgrade)
        self._is_answered = True
        had_head = parser.head is not None
        try:
            body = parser.feed(data)
        except AnswerMalformed as malformed:
            self.cut(str(malformed))
            return
        if not had_head:
            for interim in parser.take_interims():
                sink.on_interim(interim)
            if parser.head is None:
                return
            sink.on_head(parser.head, body)
        elif body:
            sink.on_body(body)
        if self._sink is not sink:
            return
        if parser.is_complete:
            end = self._give_back if parser.is_reusable else self._end
            end(sink)
        elif body or not had_head:
            self._restart_clock()

    def eof_received(self) -> None:
        sink = self._sink
        if sink is None:
            return
        try:
            (self._parser or AnswerParser(self._method)).feed_eof()
        except AnswerMalformed as cut:
            self.cut(str(cut))
            return
        if self._is_end_authentic():
            self._end(sink)
        else:
            self.cut("the connection ended without TLS saying so")

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_lost(self)
        if isinstance(exc, ConnectionError):
            self._hear_last_words()
        self.cut(f"the connection was lost: {exc}")
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._timer_at = None, inf

    def _hear_last_words(self) -> None:
        """Take the answer that an upstream left behind as it closed on an unfinished request: a 413, say.

        After a failed write asyncio reads no more; uvloop reads before it gives up. An end read here proves nothing.
        """
        transport = self._transport
        stream = transport.get_extra_info("socket") if transport is not None else None
        if not isinstance(stream, TransportSocket) or self._tls() is not None:
            return
        with suppress(OSError):
            for _ in range(_LAST_WORDS_READS):
                words = os.read(stream.fileno(), 65536)
                if self._sink is None or not words:
                    return
                self.data_received(words)

    def pause_writing(self) -> None:
        self.is_writable = False
        if self._sink is not None and self._transport is not None:
            self._unsent_bytes = self._transport.get_write_buffer_size()
            self._write_deadline = self._loop.time() + self._deadlines.write_timeout_s
            self._restart_clock()
            self._sink.pause_sending()

    def resume_writing(self) -> None:
        self.is_writable = True
        if self._sink is not None:
            self._write_deadline = inf
            self._restart_clock()
            self._sink.resume_sending()

    # --- the end of an exchange ---------------------------------------------------------------------------------------

    @property
    def _has_head(self) -> bool:
        return self._parser is not None and self._parser.head is not None

    @property
    def _phase(self) -> Phase:
        if self._has_head:
            return Phase.BODY
        return Phase.HEAD if self._is_request_done and self.is_writable else Phase.SEND

    def _give_back(self, sink: AnswerSink) -> None:
        """Let go of a complete answer; the connection goes first, so that `on_end` may ask the pool for one."""
        transport = self._transport
        if (
            not self._is_request_done
            or transport is None
            or transport.is_closing()
            or transport.get_write_buffer_size()
        ):
            self._end(sink)
            return
        self._sink = None
        self._read_deadline = self._write_deadline = inf
        if self._is_paused:
            self.resume_reading()
        self.idle_since = self._loop.time()
        self._on_idle(self)
        sink.on_end()

    def _end(self, sink: AnswerSink) -> None:
        """Do the same where the connection is of no more use."""
        self.abort()
        sink.on_end()

    def _is_end_authentic(self) -> bool:
        """Whether the upstream itself ended the connection: over TLS anybody can forge a FIN (RFC 8446 §6.1)."""
        tls = self._tls()
        if tls is None:
            return True
        try:
            return not tls.read(1)
        except ssl.SSLZeroReturnError:
            return True
        except ssl.SSLError:  # "want read": no close_notify came
            return False

    def _tls(self) -> ssl.SSLObject | None:
        return self._transport.get_extra_info("ssl_object") if self._transport is not None else None

    def _fail(self, failure: UpstreamFailure) -> None:
        sink = self._sink
        self.abort()
        if sink is not None:
            sink.on_broken(failure)

    # --- deadlines: two instants, and one timer that is moved only when it would come too late ------------------------

    def _restart_clock(self) -> None:
        if self._sink is None:
            return
        parser = self._parser
        wait_s = inf
        if parser is not None and parser.head is not None:
            if not self._is_paused and not parser.is_upgraded:
                wait_s = self._deadlines.idle_timeout_s
        elif self._is_request_done and self.is_writable and not self._is_paused:
            wait_s = self._deadlines.response_timeout_s
        self._read_by(wait_s)

    def _read_by(self, wait_s: float) -> None:
        self._read_deadline = deadline = self._loop.time() + wait_s
        deadline = min(deadline, self._write_deadline)
        if deadline < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = deadline
            self._timer = self._loop.call_at(deadline, self._look_at_clock)

    def _look_at_clock(self) -> None:
        self._timer, self._timer_at = None, inf
        now = self._loop.time()
        if self._read_deadline <= now + _TIMER_SLACK_S:
            self._time_out("the upstream fell silent", self._phase)
            return
        if self._write_deadline <= now + _TIMER_SLACK_S and not self._has_taken_bytes():
            self._time_out("the upstream stopped reading", Phase.SEND)
            return
        deadline = min(self._read_deadline, self._write_deadline)
        if deadline < inf:
            self._timer_at = deadline
            self._timer = self._loop.call_at(deadline, self._look_at_clock)

    def _has_taken_bytes(self) -> bool:
        unsent_bytes = self._transport.get_write_buffer_size() if self._transport is not None else 0
        has_taken = unsent_bytes < self._unsent_bytes
        self._unsent_bytes = unsent_bytes
        self._write_deadline = self._loop.time() + self._deadlines.write_timeout_s
        return has_taken

    def _time_out(self, message: str, phase: Phase) -> None:
        self._fail(UpstreamTimedOut(message, phase=phase, sent=True, answered=self._is_answered))
