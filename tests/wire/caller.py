"""A client that writes and reads raw bytes, and never waits long: it notices what a forgiving library would mend."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

PATIENCE_S = 5.0

type Fields = list[tuple[bytes, bytes]]


@dataclass(slots=True)
class Answered:
    """One answer as it came: `is_whole` says whether its framing was kept to the end."""

    status: int
    reason: bytes
    fields: Fields
    body: bytes = b""
    is_whole: bool = False
    interims: list[int] = field(default_factory=list)

    def all(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.fields if key == name]

    def first(self, name: bytes) -> bytes | None:
        return next(iter(self.all(name)), None)

    @property
    def problem(self) -> Any:  # JSON has any shape
        assert self.first(b"content-type") == b"application/problem+json", self
        return json.loads(self.body)


class Caller:
    """One client connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, piece: bytes) -> None:
        self.writer.write(piece)
        async with asyncio.timeout(PATIENCE_S):
            await self.writer.drain()

    async def until_held_back(self) -> None:
        """Wait until nobody takes what was written any more."""
        transport = self.writer.transport
        left_bytes = -1
        while left_bytes != transport.get_write_buffer_size():
            left_bytes = transport.get_write_buffer_size()
            await asyncio.sleep(0.1)
        assert left_bytes > 0

    async def answer(self, method: bytes = b"GET") -> Answered:
        """Read one final answer; a body that breaks off is given back as far as it came."""
        async with asyncio.timeout(PATIENCE_S):
            interims: list[int] = []
            while (answered := await self.head()).status < 200:
                interims.append(answered.status)
            answered.interims = interims
            try:
                await self._read_body(answered, method)
            except (asyncio.IncompleteReadError, ConnectionError):
                answered.is_whole = False
            return answered

    async def head(self) -> Answered:
        async with asyncio.timeout(PATIENCE_S):
            block = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = block[:-4].split(b"\r\n")
        assert first.startswith(b"HTTP/1.1 "), block
        status, _, reason = first[9:].partition(b" ")
        pairs = (line.split(b":", 1) for line in lines)
        return Answered(int(status), reason, [(name.lower(), value.strip()) for name, value in pairs])

    async def chunk(self) -> bytes:
        """Read one chunk; an empty one is the last, and was followed by its empty line."""
        async with asyncio.timeout(PATIENCE_S):
            size = int(await self.reader.readuntil(b"\r\n"), 16)
            piece = await self.reader.readexactly(size)
            assert await self.reader.readexactly(2) == b"\r\n"
            return piece

    async def is_cut(self) -> bool:
        """Tell whether the connection ends with nothing more on it."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                return await self.reader.read(1) == b""
            except ConnectionError:
                return True

    def close(self) -> None:
        """Leave with a FIN, or with an RST where something was not read."""
        self.writer.close()

    def reset(self) -> None:
        """Leave with an RST."""
        stream = self.writer.get_extra_info("socket")
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def _read_body(self, answered: Answered, method: bytes) -> None:
        lengths = answered.all(b"content-length")
        if method == b"HEAD" or answered.status in {204, 304}:
            answered.is_whole = True
        elif answered.all(b"transfer-encoding"):
            assert answered.all(b"transfer-encoding") == [b"chunked"]
            assert not lengths
            while piece := await self.chunk():
                answered.body += piece
            answered.is_whole = True
        elif lengths:
            assert len(lengths) == 1
            while (missing := int(lengths[0]) - len(answered.body)) > 0:
                piece = await self.reader.read(min(missing, 65536))
                if not piece:
                    return
                answered.body += piece
            answered.is_whole = True
        else:
            assert answered.all(b"connection") == [b"close"]
            answered.body = await self.reader.read()
            answered.is_whole = True


type Leave = Callable[[Caller], None]
LEAVES: dict[str, Leave] = {"fin": Caller.close, "rst": Caller.reset}


@asynccontextmanager
async def calling(port: int) -> AsyncIterator[Caller]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Caller(reader, writer)
    finally:
        writer.transport.abort()


def get(path: bytes, *fields: bytes, method: bytes = b"GET") -> bytes:
    """Write a request without a body."""
    lines = [method + b" " + path + b" HTTP/1.1", b"Host: front", *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def post(path: bytes, body: bytes, *fields: bytes, method: bytes = b"POST") -> bytes:
    return get(path, b"Content-Length: %d" % len(body), *fields, method=method) + body


def post_chunks(path: bytes, *pieces: bytes, fields: tuple[bytes, ...] = (), method: bytes = b"POST") -> bytes:
    """Write a chunked request; an empty piece ends it, without one it is unfinished."""
    framed = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return get(path, b"Transfer-Encoding: chunked", *fields, method=method) + framed
