"""The ledger of the limits, kept in memory by a clock that a test moves."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from app.kernel.clock import Clock
from app.kernel.errors import Unavailable


@dataclass(slots=True)
class FakeQuotaLedger:
    """`is_away` makes it unreachable; `queries` counts what a database would have been asked."""

    clock: Clock
    is_away: bool = False
    queries: int = 0
    full_at_s: dict[bytes, float] = field(default_factory=dict)
    present: dict[UUID, float] = field(default_factory=dict)

    async def book(self, shifts_s: Mapping[bytes, float]) -> Mapping[bytes, float]:
        now_s = self._asked()
        for key, shift_s in shifts_s.items():
            self.full_at_s[key] = max(now_s, max(now_s, self.full_at_s.get(key, now_s)) + shift_s)
        return {key: self.full_at_s[key] - now_s for key in shifts_s}

    async def attend(self, process: UUID) -> int:
        now_s = self._asked()
        self.present[process] = now_s
        self.present = {one: seen_s for one, seen_s in self.present.items() if seen_s >= now_s - 30}
        return len(self.present)

    async def leave(self, process: UUID) -> None:
        self._asked()
        self.present.pop(process, None)

    async def forget_full(self) -> None:
        now_s = self._asked()
        self.full_at_s = {key: full_s for key, full_s in self.full_at_s.items() if full_s > now_s}

    def _asked(self) -> float:
        self.queries += 1
        if self.is_away:
            raise Unavailable("The ledger does not answer.")
        return self.clock.monotonic_s()
