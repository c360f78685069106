"""A run's events in the pieces of a streamed chat completion.

Facts
- A piece that was sent cannot be taken back. Where a model's stream broke and its request is made again, what is said
  again is not sent again; where it is said otherwise, the answer that was begun cannot be finished, and the client is
  told so instead of being given two halves of different ones.
- What waits for a person is told as thinking, which clients show beside the answer; the stream goes on when it is
  decided.
"""

from dataclasses import dataclass, field

from app.agents.turns import Fold
from app.infra.events.ports import LAST_WORDS, EventType, RunEvent
from app.infra.wire import openai, sse
from app.infra.wire.openai import Head, Spent
from app.surfaces.streams.open_streams import Ending

BROKEN = "The answer broke off and was begun otherwise; ask again."
STOPPED = "The run was stopped before it was done."
FAREWELLS = {
    Ending.DRAINED: "This server is about to stop; ask again.",
    Ending.TOO_SLOW: "You read too slowly; ask again.",
    Ending.LOST: "The answer cannot be read at the moment; ask again.",
}


@dataclass(slots=True)
class Pieces:
    """Write one run's events, in order; with `wants_usage` also what it spent."""

    head: Head
    wants_usage: bool = False
    _fold: Fold = field(default_factory=Fold)
    _shown: list[str] = field(default_factory=list)
    _is_begun: bool = False
    _repeats: bool = False
    _is_broken: bool = False

    def __call__(self, event: RunEvent) -> bytes:
        if self._is_broken:
            return b""
        self._fold.add(event.type, event.data)
        written = self._write(event)
        if self._is_begun:
            return written
        self._is_begun = True
        return openai.piece(self.head, {"role": "assistant", "content": ""}) + written

    def _write(self, event: RunEvent) -> bytes:
        match event.type:
            case EventType.TEXT_DELTA:
                return self._text(str(event.data["text"]))
            case EventType.THINKING_DELTA:
                return openai.piece(self.head, {"reasoning_content": str(event.data["text"])})
            case EventType.TOOL_APPROVAL_REQUEST:
                words = f"Waits for your approval of {event.data['tool']} ({event.data['approval_id']}).\n"
                return openai.piece(self.head, {"reasoning_content": words})
            case EventType.STREAM_RETRY if "request" in event.data:
                self._repeats = bool(self._shown)
            case _ if event.type in LAST_WORDS:
                return self._last(event)
        return b""

    def _text(self, text: str) -> bytes:
        if self._repeats:
            shown, said = "".join(self._shown), self._fold.text
            if not (said.startswith(shown) or shown.startswith(said)):
                return self._break(BROKEN, code="stream_broken")
            if len(said) <= len(shown):
                return b""
            self._repeats, text = False, said[len(shown) :]
        self._shown.append(text)
        return openai.piece(self.head, {"content": text}) if text else b""

    def _last(self, event: RunEvent) -> bytes:
        if event.type is EventType.RUN_COMPLETED:
            return self._end()
        if event.type is EventType.RUN_FAILED:
            return self._failed(event)
        return self._break(STOPPED, code="run_stopped")

    def _end(self) -> bytes:
        if self._repeats and self._fold.text != "".join(self._shown):
            return self._break(BROKEN, code="stream_broken")
        end = openai.piece(self.head, {}, finish_reason="stop")
        if self.wants_usage:
            usage = self._fold.usage
            end += openai.usage_piece(self.head, Spent(usage.input_tokens, usage.output_tokens))
        return end + openai.DONE

    def _failed(self, event: RunEvent) -> bytes:
        match event.data.get("error"):
            case {"type": str(type_), "detail": str(detail)}:
                return self._break(detail or type_, code=type_.replace("-", "_"))
        return self._break("The run could not be finished.", code="run_broken")

    def _break(self, words: str, *, code: str) -> bytes:
        self._is_broken = True
        return openai.error_piece(words, code=code)


def farewell(ending: Ending, seq: int) -> bytes:
    """Tell a reader why there is no more; where the run is over, that was told."""
    del seq
    words = FAREWELLS.get(ending)
    return b"" if words is None else openai.error_piece(words, code=f"stream_{ending.value}") + sse.HEARTBEAT
