"""A run's events as a visitor sees them: what is said, and nothing of how it came about. Pure.

Four words: `session {session_id}` first; `text {text}`, to be added to what is shown; `text_again {text}`, to be shown
in place of it; and at the end `done {session_id, answer}` or `error {type, detail}`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from app.agents.turns import BudgetReached, Fold
from app.infra.events.ports import EventType, RunEvent
from app.infra.wire import sse
from app.surfaces.streams.open_streams import Ending

FAILED = "chat-failed"
SPENT = "chat-exhausted"
WORDS = {
    FAILED: "The chat could not answer; say it again in a while.",
    SPENT: "The chat has answered as much as it may for today.",
}
_encoder = msgspec.json.Encoder()


def failure_of(type_: str) -> str:
    """Tell as little of what went wrong as helps a visitor."""
    return SPENT if type_ == BudgetReached.type else FAILED


@dataclass(slots=True)
class Frames:
    """Write one run's events, in order."""

    session_id: str
    _fold: Fold = field(default_factory=Fold)
    _is_begun: bool = False

    def __call__(self, event: RunEvent) -> bytes:
        self._fold.add(event.type, event.data)
        written = self._write(event)
        if self._is_begun:
            return written
        self._is_begun = True
        return frame("session", {"session_id": self.session_id}) + written

    def _write(self, event: RunEvent) -> bytes:
        match event.type:
            case EventType.TEXT_DELTA:
                return frame("text", {"text": str(event.data["text"])})
            case EventType.STREAM_RETRY if "request" in event.data:
                return frame("text_again", {"text": self._fold.text})
            case EventType.RUN_COMPLETED:
                return frame("done", {"session_id": self.session_id, "answer": self._fold.text})
            case EventType.RUN_FAILED:
                error = event.data.get("error")
                return failed(failure_of(str(error.get("type")) if isinstance(error, Mapping) else ""))
            case EventType.RUN_INTERRUPTED:
                return failed(FAILED)
        return b""


def frame(word: str, told: Mapping[str, str]) -> bytes:
    return sse.event(_encoder.encode(told).decode(), type_=word)


def failed(type_: str) -> bytes:
    return frame("error", {"type": type_, "detail": WORDS[type_]})


def farewell(ending: Ending, seq: int) -> bytes:
    """Say that there is no more of an answer that had not ended."""
    del seq
    return failed(FAILED) if ending in {Ending.DRAINED, Ending.TOO_SLOW, Ending.LOST} else b""
