"""The time, as something that can be handed in."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """Tell the wall-clock time, aware, in UTC."""
        ...

    def time_s(self) -> float:
        """Tell the same in seconds since 1970, as tokens do."""
        ...

    def monotonic_s(self) -> float:
        """Tell seconds that never run backwards; for durations and deadlines only."""
        ...


class SystemClock:
    time_s = staticmethod(time.time)
    monotonic_s = staticmethod(time.monotonic)

    def now(self) -> datetime:
        return datetime.now(UTC)
