"""Up to where a follower of a chat has read each of its runs, and the one place from which it may follow again."""

from dataclasses import dataclass, field

from app.infra.events.ports import LAST_WORDS, ChatCursor, RunEvent
from app.kernel.ids import RunId

MAX_OVER = 1000


@dataclass(slots=True)
class ChatPlaces:
    """`start` is where the follower began; runs in front of it count as read."""

    start: ChatCursor | None = None
    _alive: dict[RunId, int] = field(default_factory=dict)
    _over: dict[RunId, None] = field(default_factory=dict)
    _newest: ChatCursor | None = None

    def __post_init__(self) -> None:
        self._newest = self.start
        if self.start is not None:
            self._alive[self.start.run_id] = self.start.seq

    def place_in(self, run_id: RunId) -> int:
        """Tell up to where a run was read that is not known to be over."""
        return self._alive.get(run_id, 0)

    def is_over(self, run_id: RunId) -> bool:
        return run_id in self._over

    def note(self, event: RunEvent) -> ChatCursor | None:
        """Note that an event is about to be given, and tell the place to give with it; None if it was given before."""
        if event.run_id in self._over or event.seq <= self._alive.get(event.run_id, 0):
            return None
        self._alive[event.run_id] = event.seq
        if self._newest is None or event.run_id >= self._newest.run_id:
            self._newest = ChatCursor(event.run_id, event.seq)
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
    def cursor(self) -> ChatCursor | None:
        """The place behind which nothing is missed: in the eldest run that is alive, else behind the newest."""
        if not self._alive:
            return self._newest
        eldest = min(self._alive)
        return ChatCursor(eldest, self._alive[eldest])
