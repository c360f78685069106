"""Who waits for something that there is not enough of: who is next, and who is told that it will not be.

A queue that is worked off is only a burst: everybody in it is served, in order. A queue that stays is one that more
join than leave: kept in order, everybody in it would wait as long as can be borne, and be served when it is hardly
worth it any more. There those are next who came last. The others have waited in vain; they are told when there is
nothing better to do, and after a while in any case: who asks again at once is then no burden.

Source: Maurer, "Fail at Scale" (ACM Queue 13.8, 2015), adaptive LIFO and controlled delay; Nichols and Jacobson,
"Controlling Queue Delay" (ACM Queue 10.5, 2012), a standing queue.
"""

from collections import deque
from dataclasses import dataclass, field
from math import inf

_PACED_OVER_S = 0.05


@dataclass(frozen=True, slots=True)
class Patience:
    """More than `few`, and than are served in `brief_s`, for longer than `burst_s` are no burst.

    Then nobody is served any more who has waited for `fresh_s`, and is told after `longest_s`. Few are told after
    `few_longest_s`: where that is infinite, they are served in any case.
    """

    few: int
    burst_s: float
    fresh_s: float
    longest_s: float
    few_longest_s: float = inf
    brief_s: float = 0.1


@dataclass(slots=True)
class Waiting[T]:
    """Cost: constant for each who comes and goes. Times are of any one clock that never goes back."""

    patience: Patience
    _those: deque[tuple[float, T]] = field(default_factory=deque)
    _short_at_s: float = -inf
    """when there were few, or all would have been served soon, the last time"""
    _pace_s: float = inf
    """from one who is served to the next, lately"""
    _paced_from_s: float = 0.0
    _paced: int = 0
    _served_at_s: float = -inf

    def __len__(self) -> int:
        return len(self._those)

    def is_standing(self, now_s: float) -> bool:
        return not self._is_short(now_s) and now_s - self._short_at_s > self.patience.burst_s

    def add(self, who: T, now_s: float) -> None:
        if not self._those:
            self._paced_from_s, self._paced = now_s, 0
        self._note_length(now_s)
        self._those.append((now_s, who))

    def next(self, now_s: float) -> T | None:
        """Take out whoever is next to be served, if anybody is."""
        if not self._those:
            return None
        if not self.is_standing(now_s):
            _, who = self._those.popleft()
        elif now_s - self._those[-1][0] <= self.patience.fresh_s:
            _, who = self._those.pop()
        else:
            return None
        self._note_pace(now_s)
        self._note_length(now_s)
        return who

    def next_in_vain(self, now_s: float, *, is_idle: bool) -> T | None:
        """Take out one who is to be told, if anybody is; `is_idle` says that nobody is held up by it."""
        if not self._those or now_s - self._those[0][0] <= self._longest_s(now_s, is_idle=is_idle):
            return None
        _, who = self._those.popleft()
        self._note_length(now_s)
        return who

    def _longest_s(self, now_s: float, *, is_idle: bool) -> float:
        if not self.is_standing(now_s):
            return self.patience.few_longest_s
        return self.patience.fresh_s if is_idle else self.patience.longest_s

    def _is_short(self, now_s: float) -> bool:
        waiting, patience = len(self._those), self.patience
        if waiting <= patience.few:
            return True
        return waiting * self._pace_s <= patience.brief_s and now_s - self._served_at_s <= patience.brief_s

    def _note_length(self, now_s: float) -> None:
        if self._is_short(now_s):
            self._short_at_s = now_s

    def _note_pace(self, now_s: float) -> None:
        self._served_at_s = now_s
        self._paced += 1
        taken_s = now_s - self._paced_from_s
        if taken_s >= _PACED_OVER_S:
            self._pace_s = taken_s / self._paced
            self._paced_from_s, self._paced = now_s, 0
