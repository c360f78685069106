"""The three ways to say when: by cron, at an interval, once. Pure; moments are in UTC and have whole seconds.

Facts
- Five fields are those of Debian's cron, as cronsim has it: where the day of the month or the day of the week begins
  with a star both must match, else one of them. `L`, `LW`, `MON#2` and `5L` are understood besides.
- A cron at fixed hours comes once on the day the clock changes, whether its time is left out or comes twice; one whose
  minutes or hours begin with a star follows the passing hours, and comes in both of two equal ones.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from app.features.tasks.domain.local_time import moment_of

SHORTEST = timedelta(seconds=10)
LONGEST = timedelta(days=366)
EXPRESSION_LIMIT_CHARS = 200

_NAMED = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_INTERVAL = re.compile(r"(?:every\s+)?(\d{1,9})\s*([smhd])", re.IGNORECASE)
_ONCE = re.compile(r"(?:at\s+)?(\d{4}-.*)", re.IGNORECASE)
_FIRST = datetime(2000, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)


class Rhythm(Protocol):
    def next_after(self, moment: datetime) -> datetime | None:
        """Tell the first slot behind a moment; None when there is none any more."""
        ...


@dataclass(frozen=True, slots=True)
class Cron:
    expression: str
    zone: ZoneInfo

    def next_after(self, moment: datetime) -> datetime | None:
        # what comes once of two equal hours is told again in the second one, and what a gap leaves out falls together
        for found in CronSim(self.expression, moment.astimezone(self.zone)):
            if (slot := found.astimezone(UTC)) > moment:
                return slot
        return None


@dataclass(frozen=True, slots=True)
class Every:
    """Counted from `anchor`, the first time one period behind it; a day has twenty-four hours."""

    period: timedelta
    anchor: datetime

    def next_after(self, moment: datetime) -> datetime | None:
        passed = max(0, (moment - self.anchor) // self.period)
        return self.anchor + (passed + 1) * self.period


@dataclass(frozen=True, slots=True)
class Once:
    moment: datetime

    def next_after(self, moment: datetime) -> datetime | None:
        return self.moment if self.moment > moment else None


class RhythmUnreadable(ValueError):
    """The words say no time; the message says what to write instead."""


def rhythm_of(expression: str, zone: ZoneInfo, *, since: datetime) -> Rhythm:
    """Read when a task is due; intervals count from `since`. Errors: RhythmUnreadable."""
    words = expression.strip()
    if len(words) > EXPRESSION_LIMIT_CHARS:
        raise RhythmUnreadable(f"must have at most {EXPRESSION_LIMIT_CHARS} characters")
    if interval := _INTERVAL.fullmatch(words):
        return Every(_period(*interval.groups()), _whole(since))
    if once := _ONCE.fullmatch(words):
        return Once(_moment(once[1], zone))
    words = _NAMED.get(words.lower(), words)
    if len(words.split()) != 5:
        raise RhythmUnreadable(
            'must be five cron fields ("0 9 * * 1-5"), an interval ("every 30m") or a time ("at 2030-01-31T09:00")'
        )
    try:
        CronSim(words, _FIRST)
    except CronSimError as error:
        wrong = str(error).removeprefix("Bad ")
        raise RhythmUnreadable(
            f"the field {wrong} is not one of cron; the five are minute, hour, day-of-month, month and day-of-week"
        ) from error
    return Cron(words, zone)


def _period(number: str, unit: str) -> timedelta:
    seconds = int(number) * int(timedelta(**{_UNITS[unit.lower()]: 1}).total_seconds())
    if not SHORTEST.total_seconds() <= seconds <= LONGEST.total_seconds():
        raise RhythmUnreadable(f"the interval must be from {SHORTEST.seconds}s to {LONGEST.days}d")
    return timedelta(seconds=seconds)


def _moment(words: str, zone: ZoneInfo) -> datetime:
    try:
        found = datetime.fromisoformat(words)
        return _whole(found.astimezone(UTC) if found.tzinfo else moment_of(_whole(found), zone))
    except (ValueError, OverflowError) as error:
        raise RhythmUnreadable('is no ISO 8601 time; write it as "at 2030-01-31T09:00" or with an offset') from error


def _whole(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)
