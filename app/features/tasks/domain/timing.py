"""The schedule of a task: which types have one, from when on it counts, and when it is due next. Pure.

`Task.schedule` keeps `since`: when the schedule was made, changed or enabled last. Intervals count from there, and so
does what a heartbeat remembers of its failures.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from app.features.tasks.domain.schedule import Schedule, problems
from app.features.tasks.domain.task import NewTask, Task, TaskChange
from app.kernel.errors import FieldError
from app.kernel.values import KEPT, Json

DEFAULT_TIMEZONE = "UTC"

_SINCE = "since"
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Timing:
    """What is kept of a schedule beside its words."""

    schedule: Mapping[str, Json] | None = None
    next_run_at: datetime | None = None


NEVER = Timing()


def timing_problems(draft: NewTask, *, enabled: bool, now: datetime) -> list[FieldError]:
    """List what is wrong with the schedule of a task that is to be made or changed now; one that never comes is, unless
    the task is disabled.
    """
    if not draft.task_type.is_planned or draft.schedule_expression is None:
        return []
    timezone, settings = draft.timezone or DEFAULT_TIMEZONE, draft.settings or {}
    return problems(draft.schedule_expression, timezone, settings, now=now if enabled else None)


def timing_of(draft: NewTask, *, enabled: bool, now: datetime) -> Timing:
    """Tell what is to be kept from now on. Errors: ScheduleUnreadable, where there are problems."""
    if not draft.task_type.is_planned or draft.schedule_expression is None:
        return NEVER
    settings = draft.settings or {}
    schedule = Schedule.of(draft.schedule_expression, draft.timezone or DEFAULT_TIMEZONE, settings, since=now)
    return Timing({_SINCE: now.isoformat()}, schedule.next_after(now) if enabled else None)


def changes_timing(task: Task, change: TaskChange) -> bool:
    """Whether a change makes the schedule count anew; one that says what is there already does not."""
    after = change.applied_to(task)
    enabled = task.enabled if change.enabled is KEPT else change.enabled
    before = (task.schedule_expression, task.timezone, task.settings, task.enabled)
    return task.task_type.is_planned and before != (
        after.schedule_expression,
        after.timezone,
        after.settings,
        enabled,
    )


def since_of(task: Task) -> datetime:
    since = (task.schedule or {}).get(_SINCE)
    try:
        return datetime.fromisoformat(str(since)).astimezone(UTC)
    except ValueError:
        return _FIRST


def schedule_of(task: Task) -> Schedule:
    """Read a task's schedule. Errors: ScheduleUnreadable."""
    return Schedule.of(
        task.schedule_expression or "",
        task.timezone or DEFAULT_TIMEZONE,
        task.settings or {},
        since=since_of(task),
    )
