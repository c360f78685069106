"""When this process looks for garbage that refers to itself; all other garbage goes by itself, at once.

Facts:
- Python looks whenever enough objects were made: in the busiest moments. A full collection looks at everything that was
  made since the last `freeze`, and nothing else runs meanwhile: a tenth of a second with ten thousand connections.
- A young collection looks at what was made since the last one, which takes milliseconds.
So young ones stay with Python, and full ones are made here: in a quiet moment, and the more seldom the less they find
and the longer they take.
"""

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass, field

MIN_OLD = 10
"""collections of the middle generation since the last full one; as Python itself waits for"""
MAX_OLD = 1000
MIN_FOUND = 10_000
GROWN_UP_S = 5.0
"""what is loaded behind the start is there by then, or not there in any number"""
REST_S = 10.0
MAX_REST_S = 300.0
SHARE = 0.001
"""of the time, at most"""
_NEVER = 2**31 - 1


@dataclass(slots=True)
class Garbage:
    """Concurrency: one per process; called from the loop's thread, about ten times a second."""

    monotonic_s: Callable[[], float] = time.monotonic
    _thresholds: tuple[int, int, int] = field(default_factory=gc.get_threshold)
    _done_at_s: float = 0.0
    _rest_s: float = REST_S
    _is_grown_up: bool = False

    def begin(self) -> None:
        """Take everything made up to now for what stays, and full collections into our own hands."""
        gc.freeze()
        young, middle, _ = self._thresholds
        gc.set_threshold(young, middle, _NEVER)
        self._done_at_s = self.monotonic_s()

    def end(self) -> None:
        gc.set_threshold(*self._thresholds)

    def look(self, *, is_quiet: bool) -> bool:
        """Collect if that is due, and nobody is held up by it, or it was put off too long; tell whether it was done."""
        old, since_s = gc.get_count()[2], self.monotonic_s() - self._done_at_s
        if not self._is_grown_up and since_s >= GROWN_UP_S:
            self._is_grown_up = True
            gc.freeze()  # the agents among it; takes no time, as it looks at nothing
        is_due = since_s >= self._rest_s and old >= MIN_OLD
        if not is_due or not (is_quiet or old >= MAX_OLD or since_s >= MAX_REST_S):
            return False
        began_s = self.monotonic_s()
        found = gc.collect()
        self._done_at_s = self.monotonic_s()
        self._rest_s = self._rest_after(found, self._done_at_s - began_s)
        return True

    def _rest_after(self, found: int, took_s: float) -> float:
        rest_s = REST_S if found >= MIN_FOUND else 2 * self._rest_s
        return min(max(rest_s, took_s / SHARE), MAX_REST_S)
