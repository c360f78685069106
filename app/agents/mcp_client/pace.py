"""How long to leave a server alone that could not be reached: not at all at first, then ever longer, never in step."""

import random
from collections.abc import Callable

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 60.0


class Pace:
    """What failed is counted until it is forgiven."""

    def __init__(self, *, jitter: Callable[[], float] = random.random) -> None:
        self._jitter = jitter
        self._failures = 0

    def forgive(self) -> None:
        self._failures = 0

    def failed(self) -> float:
        """Give the pause in seconds: none for the first failure, then a random half to the whole of twice the last."""
        self._failures = min(self._failures + 1, 16)
        if self._failures == 1:
            return 0.0
        whole_s: float = min(FIRST_PAUSE_S * 2 ** (self._failures - 2), LONGEST_PAUSE_S)
        return whole_s * (1 + self._jitter()) / 2
