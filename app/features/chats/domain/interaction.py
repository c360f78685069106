"""An answer with the way to it: what the agent thought, called and was given back, read off its run's events. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from app.features.chats.domain.message import Message
from app.infra.events.ports import EventType, RunEvent
from app.kernel.values import Json

STEPS_LIMIT = 200
TEXT_LIMIT_CHARS = 16 * 1024
TOLD = (
    EventType.THINKING_DELTA,
    EventType.TEXT_DELTA,
    EventType.STREAM_RETRY,
    EventType.TOOL_CALL_START,
    EventType.TOOL_CALL_COMPLETE,
    EventType.TOOL_APPROVAL_DECIDED,
)


@dataclass(frozen=True, slots=True)
class Interaction:
    """`steps` are bounded; `is_whole` is false where there were more, or the events of the run are forgotten."""

    question: Message
    answer: Message
    steps: tuple["Step", ...]
    is_whole: bool


@dataclass(slots=True)
class Step:
    """One thing of the way. A call's `result` is None while there is none; `approval` is what a person decided."""

    type: Literal["thought", "text", "call"]
    request: Json = None
    text: str = ""
    tool_call_id: str | None = None
    tool: str | None = None
    arguments: Json = None
    result: Json = None
    is_error: bool | None = None
    approval: Json = None


@dataclass(slots=True)
class Way:
    """Takes a run's events in order, and comes to its steps; what was taken back is not among them."""

    steps: list[Step] = field(default_factory=list)
    is_whole: bool = True
    _approvals: dict[Json, Json] = field(default_factory=dict)

    @classmethod
    def of(cls, events: Iterable[RunEvent]) -> "Way":
        way = cls()
        for event in events:
            way.add(event.type, event.data)
        return way

    def add(self, type_: EventType, data: Mapping[str, Json]) -> None:
        match type_:
            case EventType.THINKING_DELTA:
                self._say("thought", data)
            case EventType.TEXT_DELTA:
                self._say("text", data)
            case EventType.STREAM_RETRY:
                self._take_back(data)
            case EventType.TOOL_APPROVAL_DECIDED:
                self._approvals[data.get("tool_call_id")] = data.get("status")
            case EventType.TOOL_CALL_START:
                self._start(data)
            case EventType.TOOL_CALL_COMPLETE:
                self._complete(data)
            case _:
                pass

    def _say(self, kind: Literal["thought", "text"], data: Mapping[str, Json]) -> None:
        request, piece = data.get("request"), str(data.get("text", ""))
        last = self.steps[-1] if self.steps else None
        if last is None or last.type != kind or last.request != request:
            last = self._put(Step(kind, request))
        if last is not None:
            self.is_whole = self.is_whole and len(last.text) + len(piece) <= TEXT_LIMIT_CHARS
            last.text = (last.text + piece)[:TEXT_LIMIT_CHARS]

    def _take_back(self, data: Mapping[str, Json]) -> None:
        if "request" in data:
            self.steps = [one for one in self.steps if one.type == "call" or one.request != data["request"]]
        else:
            self.steps = [one for one in self.steps if one.tool_call_id != data.get("tool_call_id") or one.result]

    def _start(self, data: Mapping[str, Json]) -> None:
        call_id = data.get("tool_call_id")
        self._put(
            Step(
                "call",
                data.get("request"),
                tool_call_id=str(call_id),
                tool=str(data.get("tool")),
                arguments=data.get("arguments"),
                approval=self._approvals.get(call_id),
            )
        )

    def _complete(self, data: Mapping[str, Json]) -> None:
        for step in reversed(self.steps):
            if step.tool_call_id == data.get("tool_call_id"):
                step.result, step.is_error = data.get("result"), data.get("is_error") is True
                return

    def _put(self, step: Step) -> Step | None:
        if len(self.steps) >= STEPS_LIMIT:
            self.is_whole = False
            return None
        self.steps.append(step)
        return step
