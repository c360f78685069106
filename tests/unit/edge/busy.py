"""A worker in a time of its own: its rounds, what its work takes, and clients that ask it more than it can do."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Time:
    """Goes on when somebody works."""

    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


@dataclass(slots=True)
class Client:
    """Asks, waits for the answer, and asks again; `come` is what the worker does when it reads the request."""

    world: "World"
    waits: bool = False
    asked_s: float = 0.0

    def be_served(self) -> None:
        self.world.serve(self)

    def be_turned_away(self) -> None:
        self.world.time.now_s += self.world.refusing_s
        self.world.refused_at_s.append(self.world.time.now_s)
        self.world.is_free(self)


@dataclass(slots=True)
class World:
    """`offered_per_s` come evenly, each to a client that is free; with none free it is not asked at all.

    A round: what was answered meanwhile, what was asked meanwhile, and what the parts under test do in it.
    """

    time: Time
    arrive: Callable[[Client], None]
    serving_s: float
    refusing_s: float
    reading_s: float
    clients: int
    steps: int = 1
    """in which a request is served, one in each round"""
    open: int = 0
    free: list[Client] = field(default_factory=list)
    served: list[tuple[float, float]] = field(default_factory=list)
    """when, and how long after it was asked"""
    refused_at_s: list[float] = field(default_factory=list)
    _under_way: list[tuple[int, Client]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.free = [Client(self) for _ in range(self.clients)]

    def serve(self, client: Client) -> None:
        self.open += 1
        self.time.now_s += self.serving_s / self.steps / 2
        self._under_way.append((self.steps, client))

    def is_free(self, client: Client) -> None:
        self.free.append(client)

    async def run(self, seconds: float, offered_per_s: float) -> None:
        end_s = self.time.now_s + seconds
        due_s = self.time.now_s
        while self.time.now_s < end_s:
            began_s = self.time.now_s
            self._go_on()
            while due_s <= began_s:
                if self.free:
                    client = self.free.pop()
                    client.asked_s = due_s
                    self.time.now_s += self.reading_s
                    self.arrive(client)
                due_s += 1 / offered_per_s
            await asyncio.sleep(0)  # what was put off to the end of the round
            if self.time.now_s == began_s:
                self.time.now_s = max(due_s, began_s + 1e-6)  # nothing to do: the loop sleeps

    def _go_on(self) -> None:
        under_way, self._under_way = self._under_way, []
        for steps, client in under_way:
            self.time.now_s += self.serving_s / self.steps * (0.5 if steps == 1 else 1)
            if steps > 1:
                self._under_way.append((steps - 1, client))
                continue
            self.open -= 1
            self.served.append((self.time.now_s, self.time.now_s - client.asked_s))
            self.is_free(client)

    def latencies_s(self, since_s: float) -> list[float]:
        return sorted(took_s for at_s, took_s in self.served if at_s >= since_s)

    def p99_s(self, since_s: float = 0.0) -> float:
        ordered = self.latencies_s(since_s)
        return ordered[len(ordered) * 99 // 100]

    def per_s(self, since_s: float) -> float:
        return len(self.latencies_s(since_s)) / (self.time.now_s - since_s)
