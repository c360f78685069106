"""When quiet hours end: over midnight, in a place, and on the two days when its clock changes."""

from datetime import UTC, datetime, time

import pytest

from app.features.notifications.domain.quiet import QuietHours

BERLIN = "Europe/Berlin"


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@pytest.mark.parametrize(
    ("hours", "now", "until"),
    [
        (("22:00", "07:00"), "2026-11-28T21:59:59+01:00", None),
        (("22:00", "07:00"), "2026-11-28T22:00:00+01:00", "2026-11-29T07:00:00+01:00"),
        (("22:00", "07:00"), "2026-11-29T06:59:59+01:00", "2026-11-29T07:00:00+01:00"),
        (("22:00", "07:00"), "2026-11-29T07:00:00+01:00", None),
        (("12:00", "14:00"), "2026-11-28T13:00:00+01:00", "2026-11-28T14:00:00+01:00"),
        (("12:00", "14:00"), "2026-11-28T11:59:00+01:00", None),
        # the night in which the clock goes from 02:00 to 03:00
        (("22:00", "07:00"), "2026-03-28T23:00:00+01:00", "2026-03-29T07:00:00+02:00"),
        (("22:00", "02:30"), "2026-03-29T01:59:00+01:00", "2026-03-29T03:30:00+02:00"),
        # the night in which it goes from 03:00 to 02:00: what ends at 02:30 ends the first time it is that late
        (("22:00", "07:00"), "2026-10-24T23:00:00+02:00", "2026-10-25T07:00:00+01:00"),
        (("22:00", "02:30"), "2026-10-25T02:29:00+02:00", "2026-10-25T02:30:00+02:00"),
        (("22:00", "02:30"), "2026-10-25T02:10:00+01:00", "2026-10-25T02:30:00+01:00"),
    ],
)
def test_they_end_by_the_clock_on_the_wall(hours: tuple[str, str], now: str, until: str | None) -> None:
    start, end = map(time.fromisoformat, hours)

    found = QuietHours(start, end, BERLIN).until(moment(now))

    assert found == (None if until is None else moment(until))
