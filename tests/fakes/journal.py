"""A journal in memory, with a program that dies when it is told to, and a ledger that counts and refuses."""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from app.agents.turns import BudgetReached, Fold, InDoubt, TurnEvent, Usage
from app.kernel.values import Json


class Died(BaseException):
    """The program was killed; nothing behind this point was done."""


class Waiting(BaseException):
    """The turn waits for an answer, and has left its process."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


@dataclass
class FakeJournal:
    """What one process sees of a turn's journal; `resumed` is what the next one sees.

    It dies at the first border where `dies_when` says so, or at the `dies_at`th there is, counted from 1: before and
    behind every body, behind what is kept, and behind everything that is told.
    """

    kept: dict[str, Json] = field(default_factory=dict)
    intents: set[str] = field(default_factory=set)
    told: list[TurnEvent] = field(default_factory=list)
    answers: dict[str, Json] = field(default_factory=dict)
    is_resumed: bool = False
    dies_at: int = 0
    dies_when: Callable[[], bool] = lambda: False
    borders: int = 0
    is_told: asyncio.Event = field(default_factory=asyncio.Event)
    _names: Counter[str] = field(default_factory=Counter)
    _late: dict[str, Json] = field(default_factory=dict)
    """what was only read, and is lost with the process until something is written down behind it"""

    def resumed(self, *, dies_at: int = 0) -> "FakeJournal":
        return FakeJournal(self.kept, self.intents, self.told, self.answers, is_resumed=True, dies_at=dies_at)

    @property
    def is_dead(self) -> bool:
        return 0 < self.dies_at <= self.borders or self.dies_when()

    async def step(
        self,
        name: str,
        body: Callable[[str], Awaitable[Json]],
        *,
        is_idempotent: bool = True,
        only_reads: bool = False,
    ) -> Json:
        if self.is_dead:
            raise Died
        self._names[name] += 1
        key = f"run/{name}#{self._names[name]}"
        if key in self.kept:
            return self.kept[key]
        if not is_idempotent:
            if key in self.intents:
                raise InDoubt(name)
            self.intents.add(key)
        self._border()
        result = await body(key)
        self._border()
        self._late[key] = json.loads(json.dumps(result, allow_nan=False))
        if not only_reads:
            self._write_down()
            self._border()
        return self.kept.get(key, self._late.get(key))

    def _write_down(self) -> None:
        self.kept |= self._late
        self._late.clear()

    async def tell(self, event: TurnEvent) -> None:
        if self.is_dead:
            raise Died
        self.told.append(TurnEvent(event.type, json.loads(json.dumps(event.data, allow_nan=False))))
        self.is_told.set()
        self._border()

    async def wait(self, key: str, *, until: datetime) -> Json:
        if key not in self.answers and until <= datetime.now(UTC):
            self.answers[key] = None
        if key not in self.answers:
            self._write_down()
            raise Waiting(key)
        return self.answers[key]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until what was told makes it so."""
        while not condition():
            self.is_told.clear()
            await self.is_told.wait()

    def _border(self) -> None:
        self.borders += 1
        if self.is_dead:
            raise Died

    @property
    def types(self) -> list[str]:
        return [event.type for event in self.told]

    def of(self, type_: str) -> list[TurnEvent]:
        return [event for event in self.told if event.type == type_]

    @property
    def fold(self) -> Fold:
        folded = Fold()
        for event in self.told:
            folded.add(event.type, event.data)
        return folded


@dataclass
class FakeSpending:
    """Lets so many reservations through; `open` are those that were never settled, `models` are of those that were."""

    allows: int = 1_000_000
    reserved: list[tuple[str, Usage]] = field(default_factory=list)
    settled: list[tuple[str, Usage]] = field(default_factory=list)
    models: list[str] = field(default_factory=list)

    async def reserve(self, key: str, estimate: Usage) -> None:
        if len(self.reserved) >= self.allows:
            raise BudgetReached("The budget of this run is used up.")
        self.reserved.append((key, estimate))

    async def settle(self, key: str, spent: Usage, *, model: str = "") -> None:
        self.settled.append((key, spent))
        self.models.append(model)

    @property
    def open(self) -> set[str]:
        return {key for key, _ in self.reserved} - {key for key, _ in self.settled}
