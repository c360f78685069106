"""Up to where a follower of many runs has read each of them, and the one place from which it may follow again."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from app.infra.events.ports import LAST_WORDS, RunEvent, RunsCursor
from app.kernel.ids import RunId

MAX_OVER = 1000
LAST_SEQ = 2**53
"""behind every event of a run"""


@dataclass(slots=True)
class RunPlaces:
    """`start` is where the follower began; runs in front of it count as read.

    A follower that began with what comes from then on has a `floor`: up to it everything but the alive was read.
    """

    start: RunsCursor | None = None
    floor: RunId | None = None
    _alive: dict[RunId, int] = field(default_factory=dict)
    _over: dict[RunId, None] = field(default_factory=dict)
    _newest: RunsCursor | None = None

    def __post_init__(self) -> None:
        self._newest = self.start
        if self.start is not None:
            self._alive[self.start.run_id] = self.start.seq

    @classmethod
    def now(cls, floor: RunId, near: Collection[RunId], alive: Mapping[RunId, int]) -> Self:
        """Begin behind everything: the alive up to the given numbers, and what there is `near` behind the floor."""
        places = cls(floor=floor)
        places._alive.update(alive)
        places._over.update(dict.fromkeys(run_id for run_id in near if run_id not in alive))
        newest = max((*near, floor), default=floor)
        places._newest = RunsCursor(newest, LAST_SEQ)
        return places

    @property
    def alive(self) -> Sequence[RunId]:
        return sorted(self._alive)

    def place_in(self, run_id: RunId) -> int:
        """Tell up to where a run was read that is not known to be over."""
        return self._alive.get(run_id, 0)

    def is_over(self, run_id: RunId) -> bool:
        is_past = self.floor is not None and run_id <= self.floor and run_id not in self._alive
        return is_past or run_id in self._over

    def note(self, event: RunEvent) -> RunsCursor | None:
        """Note that an event is about to be given, and tell the place to give with it; None if it was given before."""
        if self.is_over(event.run_id) or event.seq <= self._alive.get(event.run_id, 0):
            return None
        self._alive[event.run_id] = event.seq
        if self._newest is None or event.run_id >= self._newest.run_id:
            self._newest = RunsCursor(event.run_id, event.seq)
        if event.type in LAST_WORDS:
            self.note_over(event.run_id)
        return self.cursor

    def note_over(self, run_id: RunId) -> None:
        """Note that a run says nothing more; what still comes of it is known."""
        self._alive.pop(run_id, None)
        self._over[run_id] = None
        if len(self._over) > MAX_OVER:
            del self._over[next(iter(self._over))]

    @property
    def cursor(self) -> RunsCursor | None:
        """The place behind which nothing is missed: in the eldest run that is alive, else behind the newest."""
        if not self._alive:
            return self._newest
        eldest = min(self._alive)
        return RunsCursor(eldest, self._alive[eldest])
