"""What clients get about what was done of tasks; interface contracts, field by field."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Self

from msgspec import Struct

from app.features.tasks.domain.history import TYPES, Entry, Place, RunSum
from app.features.tasks.domain.severity import Severity
from app.features.tasks.domain.task import TaskType
from app.features.tasks.use_cases.read_history import HistoryPage, Statistics
from app.infra.durable.ports import RunState
from app.infra.events.ports import EventType
from app.kernel.errors import FieldError, ValidationFailed

_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?(Z|[+-]\d{2}:\d{2})", re.ASCII)

# the types of events that are in a history, as an enumeration of its own
HistoryType = Enum("HistoryType", {type_.name: type_.value for type_ in TYPES})  # type: ignore[misc] # of values


class HistoryDataOut(Struct, frozen=True, kw_only=True):
    """`summary` is the beginning of what was answered, or why there is none; `severity` is of an end."""

    task_id: str
    task_type: TaskType | None
    user_id: str
    agent: str | None
    trigger: str
    status: RunState
    severity: Severity | None
    summary: str
    duration_ms: int | None
    error: dict[str, str] | None


class HistoryEntryOut(Struct, frozen=True, kw_only=True):
    """An event as at every other door, without its number; `timestamp` is `at` in milliseconds."""

    cursor: str
    type: EventType
    run_id: str
    chat_id: int | None
    at: datetime
    timestamp: int
    data: HistoryDataOut

    @classmethod
    def of(cls, entry: Entry) -> Self:
        is_end = entry.severity is not None
        error = entry.error if is_end else None
        summary = entry.summary if is_end else ""
        return cls(
            cursor=str(entry.place),
            type=entry.type,
            run_id=str(entry.place.run_id),
            chat_id=entry.chat_id,
            at=entry.place.at,
            timestamp=int(entry.place.at.timestamp() * 1000),
            data=HistoryDataOut(
                task_id=str(entry.task_id),
                task_type=entry.task_type,
                user_id=entry.owner,
                agent=entry.agent,
                trigger=entry.trigger,
                status=entry.state,
                severity=entry.severity,
                summary=error.detail if error is not None else summary,
                duration_ms=entry.duration_ms,
                error=None if error is None else {"type": error.type, "detail": error.detail},
            ),
        )


class HistoryOut(Struct, frozen=True):
    """Ask again with `after` set to `next` for what was before; null at the beginning."""

    items: Sequence[HistoryEntryOut]
    next: str | None

    @classmethod
    def of(cls, page: HistoryPage) -> Self:
        items = [HistoryEntryOut.of(entry) for entry in page.items]
        return cls(items, None if page.next is None else str(page.next))


class DurationsOut(Struct, frozen=True):
    """Of runs that completed or failed, in milliseconds, waits included; null where there is none."""

    mean: int | None
    median: int | None
    p95: int | None


class LastRunOut(Struct, frozen=True, kw_only=True):
    id: str
    status: RunState
    created_at: datetime
    finished_at: datetime | None


class RunSumOut(Struct, frozen=True, kw_only=True):
    """`success_rate` is the share of those that completed among those that completed or failed.

    `cost` in USD as text, with what was spent by the runs that these began; null where no price is known.
    """

    task_id: str | None
    agent: str | None
    runs: int
    by_status: Mapping[str, int]
    success_rate: float | None
    duration_ms: DurationsOut
    last_run: LastRunOut
    cost: str | None

    @classmethod
    def of(cls, found: RunSum) -> Self:
        last = found.last_run
        return cls(
            task_id=None if found.task_id is None else str(found.task_id),
            agent=found.agent,
            runs=found.runs,
            by_status={state.value: count for state, count in found.by_state.items()},
            success_rate=found.success_rate,
            duration_ms=DurationsOut(found.mean_ms, found.median_ms, found.p95_ms),
            last_run=LastRunOut(
                id=str(last.id), status=last.state, created_at=last.created_at, finished_at=last.finished_at
            ),
            cost=None if found.cost is None else f"{found.cost.normalize():f}",
        )


class StatisticsOut(Struct, frozen=True, kw_only=True):
    items: Sequence[RunSumOut]
    since: datetime
    until: datetime

    @classmethod
    def of(cls, found: Statistics) -> Self:
        if found.only.since is None or found.only.until is None:
            raise RuntimeError("statistics are of a window")
        items = [RunSumOut.of(one) for one in found.items]
        return cls(items=items, since=found.only.since, until=found.only.until)


def place_of(text: str) -> Place | None:
    """Errors: ValidationFailed."""
    if not text:
        return None
    try:
        return Place.parse(text)
    except (ValueError, OverflowError):
        wrong = FieldError("after", "must be the `next` of a page, or a `cursor`")
        raise ValidationFailed("Some filters are not valid.", errors=[wrong]) from None


def moment_of(name: str, text: str | None) -> datetime | None:
    """Read a time as RFC 3339 writes it. Errors: ValidationFailed."""
    if text is None:
        return None
    try:
        if _MOMENT.fullmatch(text):
            return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):  # no such day; or one that UTC leads out of the calendar
        pass
    wrong = FieldError(name, "must be an ISO 8601 time with an offset")
    raise ValidationFailed("Some filters are not valid.", errors=[wrong])
