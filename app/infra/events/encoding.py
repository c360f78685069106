"""Events as they are kept: bounded text on the way in, values on the way out."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row

from app.infra.events.ports import EventType, NewEvent, RunEvent
from app.infra.wire.json_text import written
from app.kernel.ids import ChatId, RunId

MAX_EVENT_BYTES = 64 * 1024


def columns_of(events: Sequence[NewEvent]) -> Mapping[str, list[str]]:
    """Give the parameters `types` and `documents` of a statement that adds events.

    Errors: JsonTooLarge; ValueError, TypeError for what is no JSON.
    """
    return {
        "types": [event.type.value for event in events],
        "documents": [written(event.data, limit_bytes=MAX_EVENT_BYTES) for event in events],
    }


def event_of(row: Row[Any]) -> RunEvent:  # Any: the columns, which have no type of their own
    return RunEvent(
        seq=row.seq,
        type=EventType(row.type),
        run_id=RunId(row.run_id),
        chat_id=None if row.chat_id is None else ChatId(row.chat_id),
        at=row.at,
        data=row.data,
    )
