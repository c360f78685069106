"""Local times as moments: what a clock on the wall shows, in a zone that moves it twice a year.

Facts
- A local time that a change of the clock leaves out stands for the first minute that there is; one that comes twice
  stands for the first of the two. So does Debian's cron (cron(8), "daylight saving time"), and so does cronsim.
"""

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+-]{0,31}(/[A-Za-z0-9_+-]{1,32}){0,2}")


class ZoneUnknown(ValueError):
    """There is no such timezone."""


def zone_of(name: str) -> ZoneInfo:
    """Errors: ZoneUnknown."""
    if not _NAME.fullmatch(name):
        raise ZoneUnknown
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ZoneUnknown from error


def moment_of(local: datetime, zone: ZoneInfo) -> datetime:
    """Tell when it is that time in the zone. `local` has no zone; the moment is in UTC."""
    moment = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    while moment.astimezone(zone).replace(tzinfo=None) != local:
        local += timedelta(minutes=1)
        moment = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    return moment
