"""A run's events in the words of two-step job streaming: `{event, data, status, timestamp, job_id, ...}`. Pure.

Facts
- Clients of it read `data:` alone, with the name of the event inside; a field `event:` would keep a browser's
  `onmessage` from hearing of it.
- The words for a model and its tools are those of LangChain's callbacks (`on_llm_new_token`, `on_tool_start`, ...).
- The id stands on the last frame of an event, so whoever was cut off in between gets that event again, whole.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace

import msgspec

from app.infra.events.ports import EventType, RunEvent
from app.infra.wire import sse
from app.kernel.ids import RunId
from app.kernel.storable import storable_json
from app.kernel.values import Json

PREFIX = "job_"
END = "end_of_stream"
_WORDS: Mapping[EventType, tuple[str, str]] = {
    EventType.RUN_QUEUED: ("job_started", "queued"),
    EventType.RUN_STARTED: ("status_update", "running"),
    EventType.RUN_WAITING: ("status_update", "waiting"),
    EventType.TEXT_DELTA: ("on_llm_new_token", "running"),
    EventType.THINKING_DELTA: ("on_llm_thinking", "running"),
    EventType.STREAM_RETRY: ("on_llm_retry", "running"),
    EventType.USAGE: ("on_llm_end", "running"),
    EventType.TOOL_CALL_START: ("on_tool_start", "running"),
    EventType.TOOL_OUTPUT_CHUNK: ("on_tool_output", "running"),
    EventType.TOOL_CALL_COMPLETE: ("on_tool_end", "running"),
    EventType.RUN_COMPLETED: ("result", "completed"),
    EventType.RUN_FAILED: ("error", "failed"),
    EventType.RUN_INTERRUPTED: ("error", "interrupted"),
}
_MESSAGES: Mapping[EventType, str] = {
    EventType.RUN_QUEUED: "The job was accepted.",
    EventType.RUN_STARTED: "An agent works on it.",
    EventType.RUN_WAITING: "It waits for a person to decide, or for agents it has asked.",
    EventType.RUN_COMPLETED: "The job is done.",
    EventType.RUN_FAILED: "The job failed.",
    EventType.RUN_INTERRUPTED: "The job was stopped.",
}
_encoder = msgspec.json.Encoder()


def job_id_of(run_id: RunId) -> str:
    return f"{PREFIX}{run_id}"


async def with_result(
    events: AsyncGenerator[RunEvent], read_answer: Callable[[RunId], Awaitable[str]]
) -> AsyncGenerator[RunEvent]:
    """Tell, with the end of a run that was completed, all that was answered."""
    async with aclosing(events) as told:
        async for event in told:
            if event.type is EventType.RUN_COMPLETED:
                yield replace(event, data={**event.data, "result": await read_answer(event.run_id)})
            else:
                yield event


def write(event: RunEvent) -> bytes:
    """Write an event, and behind the last one of a run the end of the stream."""
    word, status = _WORDS.get(event.type, ("status_update", "running"))
    if event.type is EventType.TOOL_CALL_COMPLETE and event.data.get("is_error") is True:
        word = "on_tool_error"
    data = _data_of(event)
    if word in {"result", "error"}:
        return _frame(event, word, status, data) + _frame(event, END, status, {"status": status}, id_=str(event.seq))
    return _frame(event, word, status, data, id_=str(event.seq))


def _data_of(event: RunEvent) -> Mapping[str, Json]:
    data = dict(event.data)
    if event.type in _MESSAGES:
        data["message"] = _MESSAGES[event.type]
    if event.type is EventType.TEXT_DELTA:
        data["token"] = data.get("text", "")
    elif event.type is EventType.RUN_INTERRUPTED:
        data["error"] = {"type": "run-stopped", "detail": str(data.get("reason") or "It was stopped.")}
    elif event.type not in _WORDS:
        data["type"] = event.type.value
    return data


def _frame(event: RunEvent, word: str, status: str, data: Mapping[str, Json], *, id_: str = "") -> bytes:
    told = {
        "event": word,
        "data": storable_json(data),
        "status": status,
        "timestamp": int(event.at.timestamp()),
        "at": event.at,
        "job_id": job_id_of(event.run_id),
        "run_id": str(event.run_id),
        "seq": event.seq,
    }
    return sse.event(_encoder.encode(told).decode(), id_=id_)
