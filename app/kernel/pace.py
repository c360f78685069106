"""How often something may be done: a few times at once, and then at an even pace."""


class Pace:
    """None of the first `at_once` waits, then one goes in `pause_s` (GCRA, ITU-T I.371)."""

    def __init__(self, pause_s: float, at_once: int) -> None:
        self._pause_s = pause_s
        self._ahead_s = pause_s * (at_once - 1)
        self._due_s = 0.0

    def next_s(self, now_s: float) -> float:
        """Count one, and tell in how many seconds the one behind it may come."""
        self._due_s = max(self._due_s, now_s) + self._pause_s
        return max(0.0, self._due_s - now_s - self._ahead_s)
