"""A request that is said a second time, after a crash or a broken stream: shown again only where it differs.

As long as what comes now only repeats what was shown, it is held back, so that a reader sees nothing twice. Where it
goes beyond, only the rest is new. Where it differs, what was shown is void: the reader is told so, then all of it anew.

Pure: it is handed deltas and hands back what is to be said of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from app.agents.turns import TurnEvent
from app.kernel.values import Json

TEXT = "text_delta"
THINKING = "thinking_delta"
DELTAS = frozenset({TEXT, THINKING})


@dataclass(slots=True)
class Repetition:
    """`retry` is what tells a reader that what was `shown` is void; said only if it has to be, and then once."""

    retry: TurnEvent
    shown: Mapping[str, str]
    is_over: bool = False
    """what was shown is void, and from now on nothing is held back"""
    _said_chars: dict[str, int] = field(default_factory=dict)
    _events: list[TurnEvent] = field(default_factory=list)

    def add(self, event: TurnEvent) -> Sequence[TurnEvent]:
        """Take a delta of the request; give what is to be said now. Cost: O(its length)."""
        if self.is_over:
            return (event,)
        self._events.append(event)
        text, start = text_of(event), self._said_chars.get(event.type, 0)
        expected = self.shown.get(event.type, "")[start : start + len(text)]
        if not text.startswith(expected):
            return self._give_up()
        self._said_chars[event.type] = start + len(text)
        rest = text[len(expected) :]
        return (TurnEvent(event.type, {**event.data, "text": rest}),) if rest else ()

    def end(self) -> Sequence[TurnEvent]:
        """Give what is to be said when the request is over: of an answer that is shorter this time, all of it."""
        is_whole = all(self._said_chars.get(type_, 0) >= len(text) for type_, text in self.shown.items())
        return () if self.is_over or is_whole else self._give_up()

    def _give_up(self) -> Sequence[TurnEvent]:
        self.is_over = True
        return (self.retry, *self._events)


@dataclass(slots=True)
class Telling:
    """Everything a turn has shown, request by request, and the requests that are being said again."""

    answer_chars: int = 0
    """of the answer as it was shown so far"""
    _shown: dict[Json, dict[str, list[str]]] = field(default_factory=dict)
    _again: dict[Json, Repetition] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """What the shown deltas come to: the answer so far."""
        return "".join(piece for texts in self._shown.values() for piece in texts.get(TEXT, ()))

    def has_shown(self, event: TurnEvent) -> None:
        """Take what was shown, by this process or another."""
        if is_retry(event):
            void = self._shown.pop(event.data["request"], {})
            self.answer_chars -= sum(map(len, void.get(TEXT, ())))
        elif event.type in DELTAS:
            self.answer_chars += len(text_of(event)) if event.type == TEXT else 0
            self._shown.setdefault(event.data["request"], {}).setdefault(event.type, []).append(text_of(event))

    def tell(self, event: TurnEvent) -> Sequence[TurnEvent]:
        """Give what is to be shown of what the turn says."""
        request = event.data.get("request")
        if is_retry(event):
            shown = {type_: "".join(pieces) for type_, pieces in self._shown.get(request, {}).items()}
            self._again.pop(request, None)
            if any(shown.values()):
                self._again[request] = Repetition(event, shown)
            return ()
        again = self._again.get(request) if event.type in DELTAS else None
        return self._showing((event,) if again is None else again.add(event))

    def end_requests(self) -> Sequence[TurnEvent]:
        """Give what is left to be shown when no request goes on."""
        ending = [event for again in self._again.values() for event in again.end()]
        self._again.clear()
        return self._showing(ending)

    def _showing(self, events: Sequence[TurnEvent]) -> Sequence[TurnEvent]:
        for event in events:
            self.has_shown(event)
        return events


def is_retry(event: TurnEvent) -> bool:
    return event.type == "stream_retry" and "request" in event.data


def text_of(event: TurnEvent) -> str:
    return str(event.data.get("text", ""))
