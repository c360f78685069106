"""Which workers there are, in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from app.infra.durable.ports import Present
from app.kernel.values import Json

PRESENT = timedelta(seconds=20)


@dataclass
class FakeCrew:
    """`failures` are raised, one a call, before anything is done."""

    failures: list[Exception] = field(default_factory=list)
    _seen: dict[str, Present] = field(default_factory=dict)

    async def report(self, name: str, *, version: str, report: Json) -> None:
        self._fail()
        self._seen[name] = Present(name, version, report, datetime.now(UTC))

    async def leave(self, name: str) -> None:
        self._fail()
        self._seen.pop(name, None)

    async def present(self) -> Sequence[Present]:
        self._fail()
        since = datetime.now(UTC) - PRESENT
        return sorted((one for one in self._seen.values() if one.seen_at > since), key=lambda one: one.seen_at)[::-1]

    def _fail(self) -> None:
        if self.failures:
            raise self.failures.pop(0)
