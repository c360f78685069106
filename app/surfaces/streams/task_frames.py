"""The frames of the WebSocket of all one's runs: JSON in text, one object each.

From the client, all with an optional `id` that the reply repeats:
    {"type": "subscribe", "topics"?: [TOPIC, ...], "after"?: CURSOR}    other topics; with `after`, another place
    {"type": "get_stats"}
    {"type": "ping"}
To the client: `connected` first; every event as on any other door, with its `cursor`, `task_id` and `agent`; replies.

A topic is a kind of events (`runs`, `text`, `tools`, `usage`, `all`) or whose they are (`task:ID`, `agent:NAME`,
`run:ID`, `chat:ID`). An event is told that is of one of the kinds (`runs`, where none is named), and of one of those
named, where some are.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from app.features.runs.domain.run import Run
from app.features.runs.schemas import event_json
from app.infra.events.ports import EventType, PlacedEvent
from app.kernel.errors import FieldError, ValidationFailed
from app.surfaces.streams.frames import Frame, Ping, Pong, Refused

MAX_FRAME_CHARS = 16 * 1024
MAX_TOPICS = 50
TOPIC_LIMIT_CHARS = 300
DEFAULT = "runs"
_TEXT = (EventType.TEXT_DELTA, EventType.THINKING_DELTA, EventType.STREAM_RETRY)
_KINDS: Mapping[str, Collection[EventType]] = {
    "runs": [type_ for type_ in EventType if type_.startswith("run_")],
    "text": _TEXT,
    "tools": [type_ for type_ in EventType if type_.startswith("tool_")],
    "usage": (EventType.USAGE,),
    "all": list(EventType),
}
_OBJECTS = ("task", "agent", "run", "chat")

type Topic = Annotated[str, Meta(min_length=1, max_length=TOPIC_LIMIT_CHARS)]


class SubscribeTopics(Frame, frozen=True, kw_only=True, tag="subscribe"):
    """`topics` take the place of those before; without them they stay. Without `after` the place stays."""

    topics: Annotated[list[Topic], Meta(max_length=MAX_TOPICS)] | None = None
    after: str = ""


class GetStats(Frame, frozen=True, kw_only=True, tag="get_stats"):
    pass


type ClientFrame = SubscribeTopics | GetStats | Ping


class Connected(Struct, frozen=True, kw_only=True, tag_field="type", tag="connected"):
    client_id: str
    topics: Sequence[str]


class SubscribedTopics(Struct, frozen=True, kw_only=True, tag_field="type", tag="subscribed"):
    id: str | int | None = None
    topics: Sequence[str]


class Stats(Struct, frozen=True, kw_only=True, tag_field="type", tag="stats"):
    """`active_connections` are WebSockets of the process that serves this one; `events` were told on it."""

    id: str | int | None = None
    active_connections: int
    subscriptions: Sequence[str]
    events: int
    connected_at: datetime


type ServerFrame = Connected | SubscribedTopics | Stats | Pong | Refused

_decoder: msgspec.json.Decoder[ClientFrame] = msgspec.json.Decoder(SubscribeTopics | GetStats | Ping)
_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Topics:
    names: tuple[str, ...] = (DEFAULT,)

    def wants(self, type_: EventType) -> bool:
        kinds = [name for name in self.names if name in _KINDS] or [DEFAULT]
        return any(type_ in _KINDS[kind] for kind in kinds)

    def wants_run(self, run: Run | None, event: PlacedEvent) -> bool:
        """`run` is that of the event, None where it is gone."""
        named = {name for name in self.names if name not in _KINDS}
        said = {f"run:{event.event.run_id}", f"chat:{event.event.chat_id}"}
        if run is not None:
            said |= {f"task:{run.task_id}", f"agent:{run.agent}"}
        return not named or bool(named & said)

    @classmethod
    def of(cls, names: Sequence[str]) -> "Topics":
        """Errors: ValidationFailed."""
        unknown = [name for name in names if name not in _KINDS and name.partition(":")[0] not in _OBJECTS]
        if unknown or any(":" not in name for name in names if name not in _KINDS):
            known = f"one of {', '.join(_KINDS)}, or {', '.join(f'{name}:...' for name in _OBJECTS)}"
            raise ValidationFailed("The frame cannot be read.", errors=[FieldError("topics", f"must each be {known}")])
        return cls(tuple(dict.fromkeys(names)) or (DEFAULT,))


def read_frame(text: str) -> ClientFrame:
    """Errors: ValidationFailed."""
    if len(text) > MAX_FRAME_CHARS:
        raise ValidationFailed("The frame is too long.", errors=[FieldError("", "is too long")])
    try:
        return _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ValidationFailed("The frame cannot be read.", errors=[FieldError("", str(error))]) from error


def write_frame(frame: ServerFrame) -> str:
    return _encoder.encode(frame).decode()


def write_event(event: PlacedEvent, run: Run | None) -> str:
    """Write an event as every door says it, with where to read on behind it, and whose it is."""
    told = {
        "cursor": str(event.cursor),
        "task_id": None if run is None or run.task_id is None else str(run.task_id),
        "agent": None if run is None else run.agent,
    }
    return f"{event_json(event.event)[:-1]},{_encoder.encode(told).decode()[1:]}"
