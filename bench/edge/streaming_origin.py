"""The origin of what takes its time: `python -m bench.edge.streaming_origin PORT`.

GET .../events answers with an event at once and a second one PAUSE_S later, so that a proxy which gathers an answer is
seen to do so; POST .../sink swallows a body of declared length and answers how many bytes came.
"""

import asyncio
import re
import sys
from typing import cast

import uvloop

from bench.edge.site import EVENTS, SINK, STREAMS

PAUSE_S = 0.005
HEAD_LIMIT_BYTES = 16 * 1024
FIRST_EVENT = b"data: first\n\n"
# nginx gathers answers unless told not to; others ignore the field
EVENTS_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
    b"X-Accel-Buffering: no\r\nTransfer-Encoding: chunked\r\n\r\n"
)


def chunk(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body)


class Origin(asyncio.Protocol):
    """One request after the other; requests are well-formed, for they come through a proxy that is under test."""

    def __init__(self) -> None:
        self._head = b""
        self._length = 0
        self._missing = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but its bases

    def data_received(self, data: bytes) -> None:
        if self._missing:
            self._swallow(data)
            return
        self._head += data
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if end:
            self._head = b""
            self._answer(head, rest)
        elif len(self._head) > HEAD_LIMIT_BYTES:
            self._transport.abort()

    def _answer(self, head: bytes, rest: bytes) -> None:
        path = head.split(b" ", 2)[1].decode()
        if path == EVENTS:
            self._transport.write(EVENTS_HEAD + chunk(FIRST_EVENT))
            asyncio.get_running_loop().call_later(PAUSE_S, self._end_events)
        elif path == SINK:
            self._length = self._missing = _length(head)
            self._swallow(rest)
        else:
            self._say(f"{STREAMS} is here\n".encode())

    def _end_events(self) -> None:
        self._transport.write(chunk(b"data: last\n\n") + b"0\r\n\r\n")

    def _swallow(self, data: bytes) -> None:
        self._missing -= len(data)
        if self._missing <= 0:
            self._say(str(self._length - self._missing).encode())
            self._missing = 0

    def _say(self, body: bytes) -> None:
        self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


def _length(head: bytes) -> int:
    found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return int(found[1]) if found else 0


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Origin, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
