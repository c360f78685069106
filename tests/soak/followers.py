"""Many who follow runs, as a process of its own: `python -m tests.soak.followers PORT TOKEN COUNT RUN_ID...`.

Each reads a stream of server-sent events to its end and counts. When its standard input ends, it prints what it counted
as JSON.
"""

import asyncio
import json
import sys
from collections import Counter
from dataclasses import dataclass, field

import uvloop

from tests.soak.clients import allow_files

OPENING_AT_ONCE = 50
SILENCE_S = 40.0
"""longer than two heartbeats"""


@dataclass(slots=True)
class Followers:
    port: int
    token: str
    counted: Counter[str] = field(default_factory=Counter)
    _places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(OPENING_AT_ONCE))

    async def follow(self, run_id: str) -> None:
        async with self._places:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            head = f"GET /api/v1/runs/{run_id}/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {self.token}\r\n\r\n"
            writer.write(head.encode())
            answer = await reader.readuntil(b"\r\n\r\n")
        self.counted[f"opened {answer[9:12].decode()}"] += 1
        last = b""
        try:
            while b"event: run_completed" not in last:
                async with asyncio.timeout(SILENCE_S):
                    last = await reader.readuntil(b"\n\n")
                self.counted["deltas" if b"event: text_delta" in last else "others"] += 1
            self.counted["ended"] += 1
        except (TimeoutError, OSError, EOFError) as failure:
            self.counted[f"lost: {type(failure).__name__}"] += 1
        writer.close()


async def main(port: int, token: str, count: int, run_ids: list[str]) -> None:
    followers = Followers(port, token)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(followers.follow(run_ids[number % len(run_ids)])) for number in range(count)]
        while sum(number for what, number in followers.counted.items() if what.startswith("opened")) < count:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.05)
        print("running", flush=True)  # noqa: T201 - the protocol of this process
        await reader.read()
        await asyncio.wait(tasks, timeout=SILENCE_S)
        for task in tasks:
            task.cancel()
    print(json.dumps(followers.counted), flush=True)  # noqa: T201 - its result


if __name__ == "__main__":
    allow_files(8192)
    uvloop.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4:]))
