"""What clients get about runs; interface contracts, field by field."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Self, cast

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from app.features.runs.domain.run import Run, RunUsage
from app.features.runs.domain.tool_result import TOOL_ERROR_LIMIT_CHARS, TOOL_RESULT_LIMIT_BYTES, Posted
from app.features.runs.use_cases.read_events import EventStretch
from app.infra.durable.ports import RunState
from app.infra.events.ports import EventType, RunEvent
from app.kernel.errors import FieldError, ValidationFailed
from app.kernel.storable import json_problem, text_problem
from app.kernel.values import Json


class UsageOut(Struct, frozen=True, kw_only=True):
    """`cost` in USD, as text; null where a price is not known."""

    input_tokens: int
    output_tokens: int
    requests: int
    tool_calls: int
    cost: str | None

    @classmethod
    def of(cls, usage: RunUsage) -> Self:
        return cls(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            requests=usage.requests,
            tool_calls=usage.tool_calls,
            cost=usage.cost,
        )


class RunErrorOut(Struct, frozen=True):
    """`type` is a problem's type."""

    type: str
    detail: str


class ResultOut(Struct, frozen=True):
    """What the agent answered."""

    text: str


class RunOut(Struct, frozen=True, kw_only=True):
    """`result` is null where there is none yet, and of a run in a chat, whose messages have it."""

    id: str
    chat_id: int | None
    task_id: str | None
    agent: str | None
    trigger: str
    status: RunState
    usage: UsageOut
    error: RunErrorOut | None
    rerun_of: str | None
    scheduled_for: datetime | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    result: ResultOut | None

    @classmethod
    def of(cls, run: Run) -> Self:
        return cls(
            id=str(run.id),
            chat_id=run.chat_id,
            task_id=None if run.task_id is None else str(run.task_id),
            agent=run.agent,
            trigger=run.trigger,
            status=run.status,
            usage=UsageOut.of(run.usage),
            error=None if run.error is None else RunErrorOut(run.error.type, run.error.detail),
            rerun_of=None if run.rerun_of is None else str(run.rerun_of),
            scheduled_for=run.scheduled_for,
            created_at=run.created_at,
            started_at=run.started_at,
            finished_at=run.finished_at,
            result=None if run.answer is None else ResultOut(run.answer),
        )


class RunBegun(Struct, frozen=True):
    """A run that was accepted; `Location` says where it is found."""

    run: RunOut


class ToolResultIn(Struct, frozen=True, forbid_unknown_fields=True):
    """`nonce` is that of the call's `tool_call_start`; beside it one of the others, `result` being any JSON."""

    nonce: Annotated[str, Meta(max_length=64)]
    result: object = UNSET
    error: Annotated[str, Meta(min_length=1, max_length=TOOL_ERROR_LIMIT_CHARS)] | UnsetType = UNSET

    def posted(self) -> Posted:
        """Errors: ValidationFailed, for what cannot be kept."""
        if (self.result is UNSET) == (self.error is UNSET):
            raise ValidationFailed("Some fields are not valid.", errors=[FieldError("", "give a result, or an error")])
        if isinstance(self.error, str):
            name, problem = "error", text_problem(self.error, at_least=1, at_most=TOOL_ERROR_LIMIT_CHARS)
        else:
            name, problem = "result", json_problem({"result": self.result}, limit_bytes=TOOL_RESULT_LIMIT_BYTES)
        if problem is not None:
            raise ValidationFailed("Some fields are not valid.", errors=[FieldError(name, problem)])
        if isinstance(self.error, str):
            return Posted(self.nonce, error=self.error)
        return Posted(self.nonce, cast("Json", self.result))


class EventOut(Struct, frozen=True, kw_only=True):
    """One event, the same at every door."""

    seq: int
    type: EventType
    run_id: str
    chat_id: int | None
    at: datetime
    data: Mapping[str, object]

    @classmethod
    def of(cls, event: RunEvent) -> Self:
        return cls(
            seq=event.seq,
            type=event.type,
            run_id=str(event.run_id),
            chat_id=event.chat_id,
            at=event.at,
            data=event.data,
        )


class EventsOut(Struct, frozen=True):
    """A stretch of a run's events; ask again with `after` set to `next`, which is null when nothing is left for now."""

    items: Sequence[EventOut]
    next: int | None


_encoder = msgspec.json.Encoder()


def event_json(event: RunEvent) -> str:
    """Write an event as every door says it. Cost: one pass; called once for each reader."""
    out = EventOut.of(event)
    try:
        return _encoder.encode(out).decode()
    except UnicodeEncodeError:  # half of a surrogate pair, which a tool may have said: JSON can, UTF-8 cannot
        return json.dumps(msgspec.to_builtins(out))


def events_json(stretch: EventStretch) -> bytes:
    """Write an `EventsOut`."""
    items = ",".join(map(event_json, stretch.items))
    return f'{{"items":[{items}],"next":{"null" if stretch.next is None else stretch.next}}}'.encode()
