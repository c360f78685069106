"""The ports of the runs' tokens in memory: one who publishes keys, ends runs, falls silent, and counts who asks."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from app.kernel.errors import Unavailable
from app.kernel.ids import RunId
from app.kernel.run_tokens import LiveTokens, PublicKey


@dataclass
class FakeLiveTokens:
    """A `SigningKeys` and a `RunSource` at once, as one database is both; keys do not expire here."""

    keys: dict[str, PublicKey] = field(default_factory=dict)
    epochs: dict[RunId, int] = field(default_factory=dict)
    is_away: bool = False
    asked: int = 0
    on_read: Callable[[], None] = lambda: None
    gate: asyncio.Event | None = None
    """where it is set, a reading has seen everything and comes back when the event does"""

    async def publish(self, key: PublicKey, *, life_s: float) -> None:
        del life_s
        if self.is_away:
            raise Unavailable(evidence={"cause": "it is away"})
        self.keys[key.id] = key

    async def withdraw(self, key_ids: Sequence[str]) -> None:
        if self.is_away:
            raise Unavailable(evidence={"cause": "it is away"})
        for key_id in key_ids:
            self.keys.pop(key_id, None)

    async def read(self) -> LiveTokens:
        self.asked += 1
        self.on_read()
        if self.is_away:
            raise Unavailable(evidence={"cause": "it is away"})
        seen = LiveTokens(frozenset(self.keys.values()), dict(self.epochs))
        if self.gate is not None:
            await self.gate.wait()
        return seen
