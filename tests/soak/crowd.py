"""Many streams and WebSockets, as a process of its own: `python -m tests.soak.crowd PORT TOKEN STREAMS SOCKETS`.

Each stream must be sent an event every few seconds; each WebSocket sends a text a second and must hear it back.
When its standard input ends, it prints what it counted as JSON.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Awaitable
from dataclasses import dataclass, field

import uvloop

SILENCE_S = 10.0
SAY_INTERVAL_S = 1.0
OPENING_AT_ONCE = 50
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


@dataclass(slots=True)
class Crowd:
    port: int
    token: str
    counted: Counter[str] = field(default_factory=Counter)
    longest_ms: float = 0
    _places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(OPENING_AT_ONCE))

    async def stream(self) -> None:
        reader, writer = await self._open("/events", "")
        while await self._heard(reader.readuntil(b"\n\r\n"), "streams"):
            self.counted["events"] += 1
        writer.close()

    async def websocket(self, number: int) -> None:
        upgrade = (
            f"connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: {KEY}\r\n"
        )
        reader, writer = await self._open("/ws", upgrade)
        text = b"%08d" % number
        while True:
            sent_s = time.monotonic()
            writer.write(b"\x81\x88\0\0\0\0" + text)  # a mask of zeros leaves the text as it is
            if not await self._heard(reader.readexactly(10), "websockets"):
                break
            self.counted["echoes"] += 1
            self.longest_ms = max(self.longest_ms, (time.monotonic() - sent_s) * 1000)
            await asyncio.sleep(SAY_INTERVAL_S)
        writer.close()

    async def _open(self, path: str, fields: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with self._places:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            head = f"GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {self.token}\r\n{fields}\r\n"
            writer.write(head.encode())
            answer = await reader.readuntil(b"\r\n\r\n")
        self.counted[f"opened {answer[9:12].decode()}"] += 1
        return reader, writer

    async def _heard(self, reading: Awaitable[bytes], what: str) -> bool:
        try:
            async with asyncio.timeout(SILENCE_S):
                await reading
        except (TimeoutError, OSError, EOFError) as failure:
            self.counted[f"{what} lost: {type(failure).__name__}"] += 1
            return False
        return True


async def main(port: int, token: str, streams: int, sockets: int) -> None:
    crowd = Crowd(port, token)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with asyncio.TaskGroup() as group:
        members = [group.create_task(crowd.stream()) for _ in range(streams)]
        members += [group.create_task(crowd.websocket(number)) for number in range(sockets)]
        while crowd.counted.total() < streams + sockets:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.05)
        print("running", flush=True)  # noqa: T201 - the protocol of this process
        await reader.read()
        for member in members:
            member.cancel()
    print(json.dumps({**crowd.counted, "longest_ms": crowd.longest_ms}), flush=True)  # noqa: T201 - its result


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
