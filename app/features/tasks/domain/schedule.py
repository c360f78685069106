"""When a task is due, and what becomes of a slot that was missed or that comes while the last one is still worked on.

A *slot* is a moment at which the task is due. Pure; moments are in UTC and have whole seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Self

from app.features.tasks.domain.active_hours import ActiveHours, HoursUnreadable
from app.features.tasks.domain.local_time import ZoneUnknown, zone_of
from app.features.tasks.domain.rhythm import Rhythm, RhythmUnreadable, rhythm_of
from app.kernel.errors import FieldError
from app.kernel.values import Json

LATE = timedelta(seconds=60)
"""a slot that is found so long behind its moment was missed"""
MOST_MADE_UP = 24
"""slots that `fire_all` makes up for, the newest"""
MOST_WAITING = 20
"""runs of a task that may wait behind the one that runs"""

_SECOND = timedelta(seconds=1)
_ANY = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_WINDOWS = 400


class Misfire(StrEnum):
    """What becomes of slots that passed while nobody was there to fire them."""

    FIRE_ONCE = "fire_once"
    SKIP = "skip"
    FIRE_ALL = "fire_all"


class Overlap(StrEnum):
    """What becomes of a slot that comes while a run of the task is not over."""

    SKIP = "skip"
    QUEUE = "queue"
    CANCEL_PREVIOUS = "cancel_previous"


class ScheduleUnreadable(ValueError):
    """`errors` says of each field what to write instead."""

    def __init__(self, *errors: FieldError) -> None:
        super().__init__("; ".join(f"{error.field} {error.message}" for error in errors))
        self.errors = errors


@dataclass(frozen=True, slots=True)
class Policies:
    """What `settings` may say of any schedule, beside its hours."""

    misfire: Misfire = Misfire.FIRE_ONCE
    overlap: Overlap = Overlap.SKIP
    skips_unchanged: bool = False


@dataclass(frozen=True, slots=True)
class Schedule:
    rhythm: Rhythm
    policies: Policies
    hours: ActiveHours | None = None

    @classmethod
    def of(cls, expression: str, timezone: str, settings: Mapping[str, Json], *, since: datetime) -> Self:
        """Read a schedule; intervals count from `since`. Errors: ScheduleUnreadable, with everything that is wrong."""
        wrong: list[FieldError] = []
        try:
            zone = zone_of(timezone)
        except ZoneUnknown:
            wrong.append(FieldError("timezone", 'is no IANA time zone; write one like "Europe/Berlin" or "UTC"'))
            zone = zone_of("UTC")
        rhythm: Rhythm | None = None
        try:
            rhythm = rhythm_of(expression, zone, since=since)
        except RhythmUnreadable as error:
            wrong.append(FieldError("schedule_expression", str(error)))
        hours: ActiveHours | None = None
        try:
            hours = None if settings.get("active_hours") is None else ActiveHours.of(settings["active_hours"], zone)
        except HoursUnreadable as error:
            wrong.append(FieldError(".".join(["settings.active_hours", *filter(None, [error.field])]), str(error)))
        policies, mistakes = _policies(settings)
        wrong += mistakes
        if wrong or rhythm is None:
            raise ScheduleUnreadable(*wrong)
        return cls(rhythm, policies, hours)

    def next_after(self, moment: datetime) -> datetime | None:
        """Tell the first slot behind a moment; None when there is none any more."""
        found = self.rhythm.next_after(moment)
        for _ in range(_MAX_WINDOWS):
            if found is None or self.hours is None or self.hours.contain(found):
                return found
            found = self.rhythm.next_after(self.hours.next_start(found) - _SECOND)
        return None

    def latest(self, first: datetime, until: datetime, *, at_most: int) -> list[datetime]:
        """List the newest slots from one that is known on until a moment, in order.

        Cost: some thirty looks for each, however many lie in between.
        """
        if (second := self.next_after(first)) is None or second > until:
            return [first]
        found: list[datetime] = []
        while len(found) < at_most and until >= second:
            found.append(slot := self._last(first, until))
            until = slot - _SECOND
        if len(found) < at_most:
            found.append(first)
        return found[::-1]

    def _last(self, first: datetime, until: datetime) -> datetime:
        """Find the last slot behind `first` by halves; there is one."""
        before, last = first, first
        beyond = until
        while before <= beyond:
            middle = before + (beyond - before) // 2
            slot = self.next_after(middle)
            if slot is None or slot > until:
                beyond = middle - _SECOND
            else:
                before = last = slot
        return last


def problems(expression: str, timezone: str, settings: Mapping[str, Json], *, now: datetime | None) -> list[FieldError]:
    """List what is wrong with a schedule; where it is to begin now, one that never fires is."""
    try:
        schedule = Schedule.of(expression, timezone, settings, since=now or _ANY)
    except ScheduleUnreadable as error:
        return list(error.errors)
    if now is None or schedule.next_after(now) is not None:
        return []
    if schedule.hours is not None and schedule.rhythm.next_after(now) is not None:
        return [FieldError("settings.active_hours", "hold no moment of schedule_expression; widen them")]
    return [FieldError("schedule_expression", "never comes; name a time or a date that is still to come")]


def _policies(settings: Mapping[str, Json]) -> tuple[Policies, list[FieldError]]:
    known = {"misfire", "overlap", "active_hours", "skip_unchanged"}
    wrong = [
        FieldError(f"settings.{name}", f"is not known; there are {', '.join(sorted(known))}")
        for name in sorted(settings.keys() - known)
    ]
    misfire, overlap = settings.get("misfire", Misfire.FIRE_ONCE), settings.get("overlap", Overlap.SKIP)
    if misfire not in list(Misfire):
        wrong.append(FieldError("settings.misfire", f"must be one of {', '.join(Misfire)}"))
    if overlap not in list(Overlap):
        wrong.append(FieldError("settings.overlap", f"must be one of {', '.join(Overlap)}"))
    skips = settings.get("skip_unchanged", False)
    if not isinstance(skips, bool):
        wrong.append(FieldError("settings.skip_unchanged", "must be true or false"))
    if misfire == Misfire.FIRE_ALL and overlap != Overlap.QUEUE:
        words = 'must be "queue" with the misfire policy "fire_all": what is made up for would be skipped or cancelled'
        wrong.append(FieldError("settings.overlap", words))
    if wrong:
        return Policies(), wrong
    return Policies(Misfire(str(misfire)), Overlap(str(overlap)), bool(skips)), []
