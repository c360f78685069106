"""The hours in which a task may be due, on a clock on the wall. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Self
from zoneinfo import ZoneInfo

from app.features.tasks.domain.local_time import moment_of
from app.kernel.values import Json

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES = 24 * 60

_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)|24:00")


class HoursUnreadable(ValueError):
    """The message says what to write instead; `field` is the key it is about."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class ActiveHours:
    """From one minute of the day to before another. Where the end is not behind the start, the hours go on past
    midnight, and belong to the day on which they begin.
    """

    zone: ZoneInfo
    start_minute: int = 0
    end_minute: int = DAY_MINUTES
    days: frozenset[int] = frozenset(range(7))

    @classmethod
    def of(cls, value: Json, zone: ZoneInfo) -> Self:
        """Read `{"from": "09:00", "to": "18:00", "days": ["mon", "tue"]}`. Errors: HoursUnreadable."""
        if not isinstance(value, Mapping):
            raise HoursUnreadable("", 'must be like {"from": "09:00", "to": "18:00", "days": ["mon", "tue"]}')
        if unknown := sorted(value.keys() - {"from", "to", "days"}):
            raise HoursUnreadable(unknown[0], "is not known; there are from, to and days")
        start, end = _minute("from", value.get("from", "00:00")), _minute("to", value.get("to", "24:00"))
        if start % DAY_MINUTES == end:
            raise HoursUnreadable("to", "must be another time than from; leave both out for the whole day")
        return cls(zone, start, end, _days(value.get("days", list(DAYS))))

    def contain(self, moment: datetime) -> bool:
        local = moment.astimezone(self.zone)
        minute, today = local.hour * 60 + local.minute, local.weekday()
        if self.start_minute < self.end_minute:
            return today in self.days and self.start_minute <= minute < self.end_minute
        is_late = today in self.days and minute >= self.start_minute
        return is_late or ((today - 1) % 7 in self.days and minute < self.end_minute)

    def next_start(self, moment: datetime) -> datetime:
        """Tell when the hours begin next, behind a moment."""
        start = time(*divmod(self.start_minute % DAY_MINUTES, 60))
        today = moment.astimezone(self.zone).date()
        for days in range(9):  # eight would do, had every day its hour
            day = today + timedelta(days=days)
            if day.weekday() in self.days:
                found = moment_of(datetime.combine(day, start), self.zone).astimezone(UTC)
                if found > moment:
                    return found
        return moment + timedelta(days=7)


def _minute(field: str, value: Json) -> int:
    if not isinstance(value, str) or not _CLOCK.fullmatch(value):
        raise HoursUnreadable(field, 'must be a time of the day like "09:00", at most "24:00"')
    hours, _, minutes = value.partition(":")
    return int(hours) * 60 + int(minutes)


def _days(value: Json) -> frozenset[int]:
    message = f"must be a list of days: {', '.join(DAYS)}"
    if not isinstance(value, list) or not value:
        raise HoursUnreadable("days", message)
    named = [day for day in value if isinstance(day, str) and day in DAYS]
    if len(named) != len(value):
        raise HoursUnreadable("days", message)
    return frozenset(DAYS.index(day) for day in named)
