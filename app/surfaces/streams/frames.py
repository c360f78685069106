"""The frames of a chat's WebSocket: JSON in text, one object each.

From the client, all with an optional `id` that the reply repeats:
    {"type": "send", "content": "...", "on_busy"?, "on_disconnect"?, "context_data"?}      begins a turn
    {"type": "cancel", "run_id"?}                  stops a run, without `run_id` the eldest that is not over
    {"type": "subscribe", "after"?: CURSOR}        begins anew behind a place
    {"type": "ping"}
To the client: every event as on any other door with its `cursor`, and the replies below.
"""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec
from msgspec import Struct

from app.features.chats.schemas import Content, Files, MessageOut
from app.features.runs.schemas import RunOut, event_json
from app.infra.events.ports import PlacedEvent
from app.kernel.errors import FieldError, ValidationFailed

MAX_FRAME_CHARS = 512 * 1024
NOW = "now"
"""as a cursor: behind everything that is over"""


class Frame(Struct, frozen=True, tag_field="type", tag=str.lower, forbid_unknown_fields=True, kw_only=True):
    id: str | int | None = None


class Send(Frame, frozen=True, kw_only=True):
    content: Content
    on_busy: Literal["refuse", "queue"] = "refuse"
    on_disconnect: Literal["continue", "cancel"] = "continue"
    context_data: dict[str, object] = {}
    attachments: Files = ()


class Cancel(Frame, frozen=True, kw_only=True):
    run_id: UUID | None = None


class Subscribe(Frame, frozen=True, kw_only=True):
    after: str = ""


class Ping(Frame, frozen=True, kw_only=True):
    pass


type ClientFrame = Send | Cancel | Subscribe | Ping


class Pong(Struct, frozen=True, kw_only=True, tag_field="type", tag="pong"):
    id: str | int | None = None
    at: datetime


class Sent(Struct, frozen=True, kw_only=True, tag_field="type", tag="sent"):
    """A turn was begun; its events come like all others."""

    id: str | int | None = None
    run_id: str
    message: MessageOut


class Cancelled(Struct, frozen=True, kw_only=True, tag_field="type", tag="cancelled"):
    """`run` as it is now; null where there was nothing to stop."""

    id: str | int | None = None
    run: RunOut | None


class Subscribed(Struct, frozen=True, kw_only=True, tag_field="type", tag="subscribed"):
    id: str | int | None = None


class Refused(Struct, frozen=True, kw_only=True, tag_field="type", tag="error"):
    """What was asked cannot be done; `problem` is the document an HTTP endpoint would answer with."""

    id: str | int | None = None
    problem: msgspec.Raw


type ServerFrame = Pong | Sent | Cancelled | Subscribed | Refused

_decoder: msgspec.json.Decoder[ClientFrame] = msgspec.json.Decoder(Send | Cancel | Subscribe | Ping)
_encoder = msgspec.json.Encoder()


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


def write_event(event: PlacedEvent) -> str:
    """Write an event as every door says it, with where to read on behind it."""
    return f'{event_json(event.event)[:-1]},"cursor":"{event.cursor}"}}'
