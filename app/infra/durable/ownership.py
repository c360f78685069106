"""Whether a run is still ours: what the heart knows of it, and what a refused write proves."""

import time
from dataclasses import dataclass, field

from app.kernel.ids import RunId


@dataclass(slots=True)
class Tally:
    """What this process counted since its start, for metrics."""

    lease_expiries: int = 0
    fenced_writes: int = 0


@dataclass(slots=True)
class Ownership:
    """A run of this process. Concurrency: the heart's thread only sets `sure_until_s`.

    `sure_until_s` is by the monotonic clock, which also counts the time in which this process was frozen: until then
    nobody else can have been given the run.
    """

    run_id: RunId
    epoch: int
    lease_s: float
    tally: Tally
    sure_until_s: float = field(default=0.0)
    is_fenced: bool = False
    is_cancelled: bool = False

    def prolong(self, since_s: float) -> None:
        """Note that the lease was taken or renewed by something that began at `since_s`."""
        self.sure_until_s = max(self.sure_until_s, since_s + self.lease_s)

    @property
    def is_sure(self) -> bool:
        return time.monotonic() < self.sure_until_s

    def fence(self) -> None:
        """Note that a write was refused."""
        self.is_fenced = True
        self.tally.fenced_writes += 1
