"""Hours in which only what is urgent is sent; by the wall clock of a place, whatever that clock does twice a year.

Facts
- A wall time that occurs twice ends the quiet hours the first time (PEP 495, `fold` 0); one that is skipped ends them
  at the moment it is skipped.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class QuietHours:
    """From `start` until `end`, over midnight where `end` is the earlier one. `zone` is a name of the IANA database."""

    start: time
    end: time
    zone: str

    def until(self, now: datetime) -> datetime | None:
        """Tell when they end that are at `now`, in UTC; None where none are."""
        local = now.astimezone(ZoneInfo(self.zone))
        if not self._holds(local.time()):
            return None
        return next(moment for moment in self._ends(local) if moment > now)

    def _holds(self, wall: time) -> bool:
        if self.start <= self.end:
            return self.start <= wall < self.end
        return wall >= self.start or wall < self.end

    def _ends(self, local: datetime) -> list[datetime]:
        days = [local.date() + timedelta(days=days) for days in (0, 1, 2)]
        zone = ZoneInfo(self.zone)
        return sorted(
            datetime.combine(day, self.end.replace(fold=fold), zone).astimezone(UTC) for day in days for fold in (0, 1)
        )
