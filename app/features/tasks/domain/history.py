"""What was done of tasks: when their runs began and ended, and what that comes to. Told of the runs, never counted on.

The runs that a run began are its own affair: they are in no history, and only what they cost is in the sums.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Self
from uuid import UUID

from app.features.tasks.domain.severity import Severity
from app.features.tasks.domain.task import TaskType
from app.infra.durable.ports import RunError, RunState
from app.infra.events.ports import EventType
from app.kernel.ids import RunId, TaskId, UserId

DEFAULT_WINDOW = timedelta(days=30)
LONGEST_WINDOW = timedelta(days=366)
MAX_ENTRIES = 100
MAX_SUMS = 100
SUMMARY_LIMIT_CHARS = 300
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
"""before any run"""
_MICROSECOND = timedelta(microseconds=1)


class Moment(IntEnum):
    """Which of its moments an entry is of; the later one is greater."""

    START = 1
    END = 2


SEVERITIES: Mapping[RunState, Severity] = {
    RunState.COMPLETED: Severity.SUCCESS,
    RunState.FAILED: Severity.ERROR,
    RunState.INTERRUPTED: Severity.WARNING,
}
TYPES: Mapping[EventType, RunState | None] = {
    EventType.RUN_STARTED: None,
    EventType.RUN_COMPLETED: RunState.COMPLETED,
    EventType.RUN_FAILED: RunState.FAILED,
    EventType.RUN_INTERRUPTED: RunState.INTERRUPTED,
}
"""What there is in a history, and how a run ended that is told of so."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a history, which is read from the newest on."""

    at: datetime
    run_id: RunId
    moment: Moment

    def __str__(self) -> str:
        return f"{(self.at - EARLIEST) // _MICROSECOND}.{self.run_id.hex}.{self.moment.value}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` wrote. Errors: ValueError."""
        at, run_id, moment = text.split(".")
        if not (at.isascii() and at.isdigit() and len(at) < 18):
            raise ValueError("a place is written as it was told")
        return cls(EARLIEST + int(at) * _MICROSECOND, RunId(UUID(run_id)), Moment(int(moment)))


@dataclass(frozen=True, slots=True)
class HistoryFilter:
    """Whose history, and what of it; None is any. `since` is in it, `until` is not."""

    owner: UserId | None = None
    task_id: TaskId | None = None
    task_type: TaskType | None = None
    agent: str | None = None
    type_: EventType | None = None
    severity: Severity | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def has_starts(self) -> bool:
        return self.type_ in {None, EventType.RUN_STARTED} and self.severity is None

    @property
    def ends(self) -> tuple[RunState, ...]:
        """Which ends are wanted."""
        by_type = tuple(state for type_, state in TYPES.items() if state and self.type_ in {None, type_})
        return tuple(state for state in by_type if self.severity in {None, SEVERITIES[state]})


@dataclass(frozen=True, slots=True)
class Entry:
    """A run that began or ended. `state` is the run's now; `summary` is the beginning of what it came to."""

    place: Place
    owner: UserId
    chat_id: int | None
    task_id: TaskId
    task_type: TaskType | None
    agent: str | None
    trigger: str
    state: RunState
    started_at: datetime | None
    finished_at: datetime | None
    error: RunError | None
    summary: str

    @property
    def type(self) -> EventType:
        if self.place.moment is Moment.START:
            return EventType.RUN_STARTED
        return next(type_ for type_, state in TYPES.items() if state is self.state)

    @property
    def severity(self) -> Severity | None:
        return SEVERITIES.get(self.state) if self.place.moment is Moment.END else None

    @property
    def duration_ms(self) -> int | None:
        if self.place.moment is Moment.START or self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at) // timedelta(milliseconds=1)


class SumBy(StrEnum):
    TASK = "task"
    AGENT = "agent"


@dataclass(frozen=True, slots=True)
class LastRun:
    id: RunId
    state: RunState
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class RunSum:
    """What the runs of a task, or of an agent's tasks, come to. Durations are of those that completed or failed.

    `cost` is in USD, with what the runs spent that they began; None where no price is known.
    """

    task_id: TaskId | None
    agent: str | None
    runs: int
    by_state: Mapping[RunState, int]
    mean_ms: int | None
    median_ms: int | None
    p95_ms: int | None
    last_run: LastRun
    cost: Decimal | None

    @property
    def success_rate(self) -> float | None:
        """Tell which part of what came to an end by itself was completed; None where nothing did."""
        completed = self.by_state.get(RunState.COMPLETED, 0)
        over = completed + self.by_state.get(RunState.FAILED, 0)
        return completed / over if over else None
