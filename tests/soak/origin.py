"""An upstream as a process of its own, so that it can be killed and frozen: `python -m tests.soak.origin PORT NAME`.

/echo        the origin's name, after the request's body was read
/after/MS    the same, that many milliseconds later
/big/BYTES   so many bytes, as fast as they are taken
/events      server-sent events, one a second, without an end
/sink/BYTES  reads the body no faster than so many bytes a second
/ws          a WebSocket that says everything back; messages of up to 125 bytes
/file/PATH   what a file holds now
"""

import asyncio
import base64
import hashlib
import sys
from collections.abc import Callable
from pathlib import Path

import uvloop

PIECE = b"x" * 65536
SINK_TICK_S = 0.2
EVENT_INTERVAL_S = 1.0
WEBSOCKET_KEY = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Origin(asyncio.Protocol):
    """One connection: one request after the other."""

    def __init__(self, name: bytes) -> None:
        self._name = name
        self._transport: asyncio.Transport
        self._seen = bytearray()
        self._left_bytes = 0
        """of the request's body"""
        self._answer: Callable[[], None] | None = None
        self._to_send_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._sink_bytes = 0
        self._is_full = self._is_websocket = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's transports are of no asyncio class

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        if self._is_websocket:
            self._say_back(data)
            return
        if self._answer is not None:
            self._take(len(data))
            return
        self._seen += data
        end = self._seen.find(b"\r\n\r\n")
        if end < 0:
            return
        head, rest_bytes = bytes(self._seen[:end]), len(self._seen) - end - 4
        self._seen.clear()
        self._begin(head)
        self._take(rest_bytes)

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        self._send_more()

    def _begin(self, head: bytes) -> None:
        first, *lines = head.split(b"\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in lines if b": " in line)
        self._left_bytes = int(fields.get(b"content-length", 0))
        _, kind, *rest = first.split()[1].split(b"?")[0].split(b"/", 2)
        number = int(rest[0]) if rest and rest[0].isdigit() else 0
        answers: dict[bytes, Callable[[], None]] = {
            b"after": lambda: self._later(number / 1000, self._echo),
            b"big": lambda: self._send_big(number),
            b"events": self._send_events,
            b"file": lambda: self._send(Path("/" + rest[0].decode()).read_bytes()),
            b"ws": lambda: self._open_websocket(head),
        }
        self._answer = answers.get(kind, self._echo)
        if kind == b"sink":
            self._sink_bytes = number
            self._drink()

    def _take(self, count: int) -> None:
        self._left_bytes -= count
        if self._sink_bytes:
            self._transport.pause_reading()
        if self._left_bytes <= 0 and (answer := self._answer) is not None:
            self._sink_bytes = 0
            self._answer = None
            answer()

    def _drink(self) -> None:
        """One read of up to 256 KB each time: slow enough for whoever sends more."""
        if self._sink_bytes:
            self._transport.resume_reading()
            self._later(SINK_TICK_S * max(1, 65536 / (self._sink_bytes * SINK_TICK_S)), self._drink)

    def _later(self, seconds: float, what: Callable[[], None]) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, what)

    def _echo(self) -> None:
        self._send(self._name)

    def _send(self, body: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
        self._transport.write(head + body)

    def _send_big(self, count: int) -> None:
        self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % count)
        self._to_send_bytes = count
        self._send_more()

    def _send_more(self) -> None:
        while self._to_send_bytes and not self._is_full:
            piece = PIECE[: self._to_send_bytes]
            self._to_send_bytes -= len(piece)
            self._transport.write(piece)

    def _send_events(self) -> None:
        self._transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        self._send_event()

    def _send_event(self) -> None:
        self._transport.write(b"8\r\ndata: x\n\r\n")
        self._later(EVENT_INTERVAL_S, self._send_event)

    def _open_websocket(self, head: bytes) -> None:
        self._is_websocket = True
        key = next(
            line.split(b": ")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")
        )
        accept = base64.b64encode(hashlib.sha1(key + WEBSOCKET_KEY).digest())
        self._transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
            b"sec-websocket-accept: %b\r\n\r\n" % accept
        )

    def _say_back(self, data: bytes) -> None:
        """Each frame has a byte of kind, one of length, four of mask and the masked text."""
        self._seen += data
        while len(self._seen) >= 6 and len(self._seen) >= (end := 6 + (self._seen[1] & 0x7F)):
            mask, masked = self._seen[2:6], self._seen[6:end]
            text = bytes(byte ^ mask[place % 4] for place, byte in enumerate(masked))
            self._transport.write(bytes((self._seen[0], len(text))) + text)
            del self._seen[:end]


async def main(port: int, name: bytes) -> None:
    """Serve until whoever started us is gone."""
    loop = asyncio.get_running_loop()
    tether = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(tether), sys.stdin)
    server = await loop.create_server(lambda: Origin(name), "127.0.0.1", port, backlog=4096)
    await tether.read()
    server.close()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2].encode()))
