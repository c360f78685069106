"""A load as a process of its own: `python -m tests.soak.generator PLAN`, with a plan in JSON.

With `per_s` it is an open loop: a request is sent when it is due, whatever became of earlier ones, and its latency
counts from then, so that who stalls pays for everything the stall held up. Without, each connection asks again at once.
A line on its standard input begins a phase of that name; the end of the input ends the load, and what was counted is
printed as JSON, a row a phase. A request belongs to the phase in which it was due.
"""

import asyncio
import json
import sys
import time
from array import array
from collections import Counter, deque
from dataclasses import dataclass, field

import uvloop

TICK_S = 0.001
LAST_ANSWERS_S = 5.0
DIAL_AGAIN_S = 0.01
HEAD_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Plan:
    """`requests` are whole requests, sent in turn; `is_fresh` opens a connection for each.

    `depth` of them are sent at once on a connection, which is free again when all of them are answered.
    """

    port: int
    requests: tuple[str, ...]
    connections: int = 32
    per_s: float = 0
    is_fresh: bool = False
    depth: int = 1


@dataclass(slots=True, eq=False)
class Phase:
    """`outcomes` are 200, another status with its reason, or how the connection failed the request."""

    name: str
    outcomes: Counter[str] = field(default_factory=Counter)
    taken_ms: array[float] = field(default_factory=lambda: array("d"))
    waited_ms: array[float] = field(default_factory=lambda: array("d"))
    """the same from the moment they were sent"""
    refused_ms: array[float] = field(default_factory=lambda: array("d"))
    began_s: float = field(default_factory=time.monotonic)
    seconds: float = 0

    def row(self) -> dict[str, object]:
        taken = sorted(self.taken_ms)
        return {
            "name": self.name,
            "outcomes": dict(self.outcomes),
            "p50_ms": _at(taken, 0.5),
            "p99_ms": _at(taken, 0.99),
            "max_ms": _at(taken, 1),
            "waited_p99_ms": _at(sorted(self.waited_ms), 0.99),
            "refused_p50_ms": _at(sorted(self.refused_ms), 0.5),
            "seconds": self.seconds,
        }


def _at(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0


class Load:
    """What all connections share: what is due, and what was counted."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.is_over = False
        self.phases = [Phase("start")]
        self.late_max_ms = 0.0
        self._requests = [text.encode("latin-1") for text in plan.requests]
        self._turn = 0
        self._due: deque[tuple[float, Phase]] = deque()
        self._free: deque[Connection] = deque()
        self._loop = asyncio.get_running_loop()
        self._began_s = time.monotonic()
        self._sent = 0
        self.connections: set[Connection] = set()

    @property
    def phase(self) -> Phase:
        return self.phases[-1]

    def request(self) -> bytes:
        self._turn = (self._turn + 1) % len(self._requests)
        return self._requests[self._turn] * self.plan.depth

    def begin_phase(self, name: str) -> None:
        """Begin a phase, or go on with an earlier one of the same name."""
        now_s = time.monotonic()
        self.phase.seconds += now_s - self.phase.began_s
        phase = next((one for one in self.phases if one.name == name), Phase(name))
        if phase in self.phases:
            self.phases.remove(phase)
        phase.began_s = now_s
        self.phases.append(phase)

    def is_free(self, connection: "Connection") -> None:
        """Hear that a connection could carry a request."""
        if self.is_over and not self._due:
            connection.close()
        elif not self.plan.per_s:
            connection.send(time.monotonic(), self.phase)
        elif self._due:
            connection.send(*self._due.popleft())
        else:
            self._free.append(connection)

    def is_gone(self, connection: "Connection") -> None:
        self.connections.discard(connection)
        if connection in self._free:
            self._free.remove(connection)
        if not self.is_over or self._due:
            self.dial()

    def dial(self) -> None:
        self._loop.call_soon(self._spawn)

    def _spawn(self) -> None:
        self._group.create_task(self._dial())

    async def _dial(self) -> None:
        try:
            await self._loop.create_connection(lambda: Connection(self), "127.0.0.1", self.plan.port)
        except OSError as error:
            self.phase.outcomes[type(error).__name__] += 1
            await asyncio.sleep(DIAL_AGAIN_S)
            if not self.is_over:
                self.dial()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as self._group:
            for _ in range(self.plan.connections):
                self.dial()
            self._group.create_task(self._listen())
            if self.plan.per_s:
                self._began_s = time.monotonic()
                self._tick()

    def _tick(self) -> None:
        """Hand out what is due by now."""
        now = time.monotonic()
        while (due_s := self._began_s + self._sent / self.plan.per_s) <= now and not self.is_over:
            self._sent += self.plan.depth
            self.late_max_ms = max(self.late_max_ms, (now - due_s) * 1000)
            if self._free:
                self._free.popleft().send(due_s, self.phase)
            else:
                self._due.append((due_s, self.phase))
        if not self.is_over:
            self._loop.call_later(TICK_S, self._tick)

    async def _listen(self) -> None:
        reader = asyncio.StreamReader()
        await self._loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        print("running", flush=True)  # noqa: T201 - the protocol of this process
        while line := await reader.readline():
            self.begin_phase(line.decode().strip())
        self.phase.seconds += time.monotonic() - self.phase.began_s
        self.is_over = True
        end_s = time.monotonic() + LAST_ANSWERS_S
        while time.monotonic() < end_s and (self._due or any(one.is_asking for one in self.connections)):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        for _, phase in self._due:
            phase.outcomes["never sent"] += self.plan.depth
        self._due.clear()
        for one in tuple(self.connections):
            one.give_up()


class Connection(asyncio.Protocol):
    """One connection: one request at a time."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._transport: asyncio.Transport
        self._due_s = self._sent_s = 0.0
        self._phase = load.phase
        self._answers = 0
        self._seen = b""
        self._asked = 0
        """and not answered yet"""

    @property
    def is_asking(self) -> bool:
        return self._asked > 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's transports are of no asyncio class
        self._load.connections.add(self)
        self._load.is_free(self)

    def send(self, due_s: float, phase: Phase) -> None:
        self._due_s, self._phase, self._asked = due_s, phase, self._load.plan.depth
        self._sent_s = time.monotonic()
        self._transport.write(self._load.request())

    def close(self) -> None:
        self._transport.abort()

    def give_up(self) -> None:
        """Count what was never answered."""
        if self.is_asking:
            self._phase.outcomes["never answered"] += self._asked
            self._asked = 0
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._seen = self._seen + data if self._seen else data
        while self._seen and (size := self._whole_bytes()):
            answer, self._seen = self._seen[:size], self._seen[size:]
            self._answered(answer)

    def _whole_bytes(self) -> int:
        """Tell how long the first answer is, once it is there."""
        seen = self._seen
        end = seen.find(HEAD_END) + 4
        if end < 4:
            return 0
        at = seen.find(b"\r\ncontent-length:", 0, end)  # as the gateway writes it
        if at < 0:
            at = seen.find(b"\r\nContent-Length:", 0, end)  # as nginx does
        size = end + (int(seen[at + 17 : seen.index(b"\r\n", at + 17)]) if at >= 0 else 0)
        return size if len(seen) >= size else 0

    def _answered(self, answer: bytes) -> None:
        self._asked -= 1
        self._answers += 1
        status = answer[9:12].decode()
        now_s = time.monotonic()
        taken_ms = (now_s - self._due_s) * 1000
        if status.startswith("2"):
            self._phase.outcomes[status] += 1
            self._phase.taken_ms.append(taken_ms)
            self._phase.waited_ms.append((now_s - self._sent_s) * 1000)
        else:
            self._phase.outcomes[f"{status} {_reason(answer.partition(HEAD_END)[2])}"] += 1
            self._phase.refused_ms.append(taken_ms)
        if b"\r\nconnection: close" in answer or self._load.plan.is_fresh:
            self._transport.close()
        elif not self._asked:
            self._load.is_free(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.is_asking:
            self._phase.outcomes["cut" if self._seen else "stale" if self._answers else "lost"] += self._asked
            self._asked = 0
        self._load.is_gone(self)


def _reason(body: bytes) -> str:
    try:
        return str(json.loads(body)["type"])
    except (ValueError, KeyError, TypeError):
        return ""


async def main(plan: Plan) -> None:
    load = Load(plan)
    await load.run()
    rows = [phase.row() for phase in load.phases]
    print(json.dumps({"phases": rows, "late_max_ms": load.late_max_ms}), flush=True)  # noqa: T201 - its result


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    uvloop.run(main(Plan(**{**given, "requests": tuple(given["requests"])})))
