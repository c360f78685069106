"""Whether the fleet's description is still what it was, for processes that have none of their own.

Each process that serves the description says its digest every two seconds, and at once when it changed (`hints.py`).
Who asked for what is made of it may use the answer for as long as he keeps hearing the same digest. A silence ends
that: of nobody who serves, of a lost connection, and of a pooler through which no hint ever comes.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

FLEET = "portico_fleet"
"""the channel; its words are digests"""
SAY_S = 2.0
TRUST_S = 5.0


@dataclass(slots=True)
class FleetNews:
    """Concurrency: for one event loop."""

    monotonic_s: Callable[[], float] = time.monotonic
    _digest: str = ""
    _changes: int = 0
    _heard_at_s: float = float("-inf")

    def hear(self, words: Sequence[str]) -> None:
        for digest in words:
            if digest != self._digest:
                self._digest = digest
                self._changes += 1
            self._heard_at_s = self.monotonic_s()

    @property
    def edition(self) -> int | None:
        """Number what is described at present: of two alike numbers nothing changed between; None while nobody says.

        Take it before asking for what is to be kept.
        """
        is_known = self._digest and self.monotonic_s() - self._heard_at_s < TRUST_S
        return self._changes if is_known else None
