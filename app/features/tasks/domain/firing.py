"""What becomes of a task that is due: which slots are fired, which are left out and why, when it is due again. Pure."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from app.features.tasks.domain.schedule import LATE, MOST_MADE_UP, MOST_WAITING, Misfire, Overlap, Schedule
from app.features.tasks.domain.task import Task, TaskType
from app.infra.durable.ports import RunState
from app.kernel.ids import RunId

LONGEST_BACKOFF = timedelta(days=1)
MAX_DOUBLINGS = 10
HISTORY = 10
"""slots that were fired, the newest first, by which a heartbeat is held back"""

_SECOND = timedelta(seconds=1)


class SlotOutcome(StrEnum):
    FIRED = "fired"
    MISSED = "missed"
    OVERLAP = "overlap"
    UNCHANGED = "unchanged"
    BACKOFF = "backoff"


@dataclass(frozen=True, slots=True)
class Slot:
    at: datetime
    outcome: SlotOutcome


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A run of the task that is not over; `is_cancelled` when it was asked to stop."""

    run_id: RunId
    is_cancelled: bool


@dataclass(frozen=True, slots=True)
class Fired:
    """A slot that was fired before, and what became of its run."""

    at: datetime
    digest: str
    state: RunState


@dataclass(frozen=True, slots=True)
class Beside:
    """What there is of the task besides: runs that are not over, and slots that were fired, the newest first."""

    unfinished: Sequence[Unfinished] = ()
    fired: Sequence[Fired] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """With `cancels` nothing else is decided: these runs are stopped first, and the task is looked at again."""

    slots: tuple[Slot, ...] = ()
    next_run_at: datetime | None = None
    cancels: tuple[RunId, ...] = ()


def decide(task: Task, schedule: Schedule, *, due: datetime, now: datetime, beside: Beside) -> Decision:
    """Decide on a task that has been due since `due`."""
    policies = schedule.policies
    is_all = policies.misfire is Misfire.FIRE_ALL
    moments = schedule.latest(due, now, at_most=MOST_MADE_UP if is_all else 1)
    following = schedule.next_after(max(now, moments[-1]))
    if policies.misfire is Misfire.SKIP and now - moments[-1] > LATE:
        return _none(moments, SlotOutcome.MISSED, following)
    if beside.unfinished and policies.overlap is Overlap.SKIP:
        return _none(moments, SlotOutcome.OVERLAP, following)
    going = tuple(one.run_id for one in beside.unfinished if not one.is_cancelled)
    if going and policies.overlap is Overlap.CANCEL_PREVIOUS:
        return Decision(cancels=going)
    if policies.skips_unchanged and _is_unchanged(task, beside.fired):
        return _none(moments, SlotOutcome.UNCHANGED, following)
    again = _again_at(task, schedule, beside.fired)
    if again is not None and moments[-1] < again:
        return _none(moments, SlotOutcome.BACKOFF, schedule.next_after(max(now, again - _SECOND)))
    room = max(0, MOST_WAITING - len(beside.unfinished))
    fired = [Slot(at, SlotOutcome.FIRED) for at in moments[:room]]
    return Decision((*fired, *(Slot(at, SlotOutcome.OVERLAP) for at in moments[room:])), following)


def digest_of(task: Task) -> str:
    """Stand for what the agent is told: the prompt, the context data and which agent it is, nothing else."""
    told = json.dumps([task.prompt, task.context_data, task.agent], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(told.encode()).hexdigest()


def _none(moments: Sequence[datetime], outcome: SlotOutcome, following: datetime | None) -> Decision:
    return Decision(tuple(Slot(at, outcome) for at in moments), following)


def _is_unchanged(task: Task, fired: Sequence[Fired]) -> bool:
    done = next((one for one in fired if one.state is RunState.COMPLETED), None)
    return done is not None and done.digest == digest_of(task)


def _again_at(task: Task, schedule: Schedule, fired: Sequence[Fired]) -> datetime | None:
    """Tell until when a heartbeat is held back that failed: for two steps of its schedule, counted from the slot that
    failed, for four when it fails again, and so on, up to a day.
    """
    if task.task_type is not TaskType.HEARTBEAT:
        return None
    ended = [one for one in fired if one.state in {RunState.COMPLETED, RunState.FAILED}]
    failures = next((n for n, one in enumerate(ended) if one.state is not RunState.FAILED), len(ended))
    if failures == 0 or (step_to := schedule.next_after(ended[0].at)) is None:
        return None
    step, doublings = step_to - ended[0].at, min(failures, MAX_DOUBLINGS)
    return ended[0].at + min(step * (1 << doublings), max(LONGEST_BACKOFF, step))
