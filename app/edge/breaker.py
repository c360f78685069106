"""When one endpoint is left alone, and for how long. Pure: told what happened and what time it is, asks nobody.

What counts (promise P7): exchanges that failed before an answer's head, whatever the cause: not accepted, reset,
answered nonsense, silent for too long. Within one window, which the first of them begins, they must be `failures` or
more, and no fewer than the answers: one URL that kills its request must not close the door on the thousand others.
Answers 502, 503 and 504 are answers, and often say something to the client. They count only towards giving an
endpoint's share to another: four times as many, and four fifths of all answers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
JITTER = 0.2
"""so that workers and replicas, which saw the same outage, do not all probe in the same moment"""
OVERLOADS_FACTOR = 4
OVERLOADS_SHARE = 0.8
OVERLOADED = frozenset({502, 503, 504})


class BreakerState(StrEnum):
    CLOSED = "closed"
    """requests pass"""
    OPEN = "open"
    """none passes until the pause is over"""
    HALF_OPEN = "half_open"
    """one may pass, as a probe"""
    PROBING = "probing"
    """it is under way"""


@dataclass(frozen=True, slots=True)
class BreakerRules:
    failures: int = 5
    """0: never open"""
    window_s: float = 10.0


class Breaker:
    """One endpoint's record. `spread` gives a number from 0 to 1, for the jitter.

    Cost: an answer is one addition; the clock is read for failures only.
    """

    __slots__ = (
        "_attempt",
        "_closed_at_s",
        "_overloads",
        "_rules",
        "_spread",
        "_window_ends_s",
        "answers",
        "failures",
        "opened",
        "reopens_at_s",
        "state",
    )

    def __init__(self, rules: BreakerRules, spread: Callable[[], float]) -> None:
        self.state = BreakerState.CLOSED
        self.answers = 0
        """since the window began; whoever takes an answer adds one"""
        self.failures = 0
        self.opened = 0
        """how often, since the start"""
        self.reopens_at_s = 0.0
        self._overloads = 0
        self._window_ends_s = 0.0
        self._rules = rules
        self._spread = spread
        self._attempt = 0
        self._closed_at_s = 0.0

    def note_failure(self, now_s: float) -> bool:
        """Count one; True when the endpoint should be left alone from now on."""
        self._enter_window(now_s)
        self.failures += 1
        limit = self._rules.failures
        return self.state is BreakerState.CLOSED and 0 < limit <= self.failures and self.failures >= self.answers

    def note_overload(self, now_s: float) -> bool:
        """Count a 502, 503 or 504; True when another endpoint, if there is one, should take its share."""
        self._enter_window(now_s)
        self._overloads += 1
        self.answers = max(1, self.answers)  # the one that began the window is an answer in it
        limit = self._rules.failures * OVERLOADS_FACTOR
        is_most = self._overloads >= self.answers * OVERLOADS_SHARE
        return self.state is BreakerState.CLOSED and 0 < limit <= self._overloads and is_most

    def open(self, now_s: float) -> float:
        """Let nothing pass; tell for how many seconds: twice as long each time that it did not stay closed for long."""
        if self.state is BreakerState.CLOSED and now_s - self._closed_at_s > LONGEST_PAUSE_S:
            self._attempt = 0
        pause_s: float = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**self._attempt)
        pause_s *= 1 + JITTER * (2 * self._spread() - 1)
        self._attempt = min(self._attempt + 1, 16)
        self.opened += 1
        self.state, self.reopens_at_s = BreakerState.OPEN, now_s + pause_s
        return pause_s

    def close(self, now_s: float) -> None:
        """Let everything pass, and begin to count anew."""
        self.state, self._closed_at_s = BreakerState.CLOSED, now_s
        self._begin_window(now_s)

    def _enter_window(self, now_s: float) -> None:
        if now_s >= self._window_ends_s:
            self._begin_window(now_s)

    def _begin_window(self, now_s: float) -> None:
        self._window_ends_s = now_s + self._rules.window_s
        self.answers = self.failures = self._overloads = 0
