"""When a task is due, by the clock on the wall: both changes of the clock, and what says no time."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.features.tasks.domain.rhythm import Cron, Every, Once, RhythmUnreadable, rhythm_of

BERLIN, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Africa/Cairo", "Australia/Lord_Howe", "Asia/Kathmandu"]
SINCE = datetime(2026, 1, 1, 0, 0, 7, tzinfo=UTC)


def slots(expression: str, zone: str, start: str, count: int) -> list[str]:
    """The next slots behind a local time, as that zone's clocks show them."""
    zoned = ZoneInfo(zone)
    rhythm, moment = rhythm_of(expression, zoned, since=SINCE), datetime.fromisoformat(start).replace(tzinfo=zoned)
    found = []
    for _ in range(count):
        slot = rhythm.next_after(moment)
        assert slot is not None
        found.append(slot.astimezone(zoned).strftime("%m-%d %H:%M%z"))
        moment = slot
    return found


@pytest.mark.parametrize(
    ("expression", "zone", "start", "expected"),
    [
        pytest.param(
            "30 2 * * *",
            "Europe/Berlin",
            "2027-03-27T12:00",
            ["03-28 03:00+0200", "03-29 02:30+0200"],
            id="berlin-the-time-left-out-comes-at-three",
        ),
        pytest.param(
            "30 2 * * *",
            "Europe/Berlin",
            "2027-10-30T12:00",
            ["10-31 02:30+0200", "11-01 02:30+0100"],
            id="berlin-the-time-that-comes-twice-comes-once",
        ),
        pytest.param(
            "30 2 * * *",
            "America/New_York",
            "2027-03-13T12:00",
            ["03-14 03:00-0400", "03-15 02:30-0400"],
            id="new-york-the-time-left-out",
        ),
        pytest.param(
            "30 1 * * *",
            "America/New_York",
            "2027-11-06T12:00",
            ["11-07 01:30-0400", "11-08 01:30-0500"],
            id="new-york-the-time-that-comes-twice",
        ),
        pytest.param(
            "0,30 2,3 * * *",
            "Europe/Berlin",
            "2027-03-28T01:00",
            ["03-28 03:00+0200", "03-28 03:30+0200", "03-29 02:00+0200"],
            id="what-falls-together-comes-once",
        ),
        pytest.param(
            "30 * * * *",
            "Europe/Berlin",
            "2027-10-31T01:45",
            ["10-31 02:30+0200", "10-31 02:30+0100", "10-31 03:30+0100"],
            id="every-hour-comes-in-both-of-two-equal-ones",
        ),
        pytest.param(
            "30 * * * *",
            "Europe/Berlin",
            "2027-03-28T01:00",
            ["03-28 01:30+0100", "03-28 03:30+0200"],
            id="every-hour-has-no-slot-in-an-hour-that-is-not",
        ),
        pytest.param(
            "*/20 2 * * *",
            "America/New_York",
            "2027-03-14T00:00",
            ["03-15 02:00-0400", "03-15 02:20-0400"],
            id="steps-within-an-hour-that-is-not-are-left-out",
        ),
        pytest.param(
            "every 12h",
            "Europe/Berlin",
            "2027-03-27T20:00",
            ["03-28 01:00+0100", "03-28 14:00+0200"],
            id="intervals-count-hours-that-pass",
        ),
    ],
)
def test_a_clock_that_is_changed(expression: str, zone: str, start: str, expected: list[str]) -> None:
    assert slots(expression, zone, start, len(expected)) == expected


@pytest.mark.parametrize("hour", [0, 1])
def test_the_second_of_two_equal_hours_has_no_slot_that_the_first_had(hour: int) -> None:
    moment = datetime(2027, 10, 31, 2, 15, tzinfo=BERLIN, fold=hour)

    found = Cron("30 2 * * *", BERLIN).next_after(moment)

    assert found == datetime(2027, 10, 31, 0, 30, tzinfo=UTC) if hour == 0 else datetime(2027, 11, 1, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "rhythm"),
    [
        ("0 9 * * 1-5", Cron("0 9 * * 1-5", BERLIN)),
        ("  0 9 * * MON  ", Cron("0 9 * * MON", BERLIN)),
        ("@daily", Cron("0 0 * * *", BERLIN)),
        ("every 30m", Every(timedelta(minutes=30), SINCE)),
        ("10s", Every(timedelta(seconds=10), SINCE)),
        ("Every 2 H", Every(timedelta(hours=2), SINCE)),
        ("366d", Every(timedelta(days=366), SINCE)),
        ("at 2030-01-31T09:00", Once(datetime(2030, 1, 31, 8, tzinfo=UTC))),
        ("2030-01-31T09:00-05:00", Once(datetime(2030, 1, 31, 14, tzinfo=UTC))),
        ("2030-01-31 09:00Z", Once(datetime(2030, 1, 31, 9, tzinfo=UTC))),
        ("at 2027-03-28T02:30", Once(datetime(2027, 3, 28, 1, tzinfo=UTC))),
        ("at 2027-10-31T02:30", Once(datetime(2027, 10, 31, 0, 30, tzinfo=UTC))),
    ],
)
def test_what_says_when(expression: str, rhythm: object) -> None:
    assert rhythm_of(expression, BERLIN, since=SINCE.replace(microsecond=5)) == rhythm


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("", "must be five cron fields"),
        ("tomorrow", "must be five cron fields"),
        ("0 0 9 * * *", "must be five cron fields"),
        ("61 9 * * *", "the field minute"),
        ("0 24 * * *", "the field hour"),
        ("0 9 32 * *", "the field day-of-month"),
        ("0 9 30 2 *", "the field day-of-month"),
        ("0 9 * 13 *", "the field month"),
        ("0 9 * * 8", "the field day-of-week"),
        ("0 9 * * fri-mon", "the field day-of-week"),
        ("every 9s", "from 10s to 366d"),
        ("every 367d", "from 10s to 366d"),
        ("0m", "from 10s to 366d"),
        ("at 2030-02-30T09:00", "is no ISO 8601 time"),
        ("2030-13", "is no ISO 8601 time"),
        ("at 9999-12-31T23:59:59-12:00", "is no ISO 8601 time"),
        ("0 " * 200, "at most 200 characters"),
    ],
)
def test_what_says_no_time_is_told_how_to_say_it(expression: str, words: str) -> None:
    with pytest.raises(RhythmUnreadable, match=words):
        rhythm_of(expression, BERLIN, since=SINCE)


def test_once_is_over_when_it_has_passed() -> None:
    once = Once(SINCE)

    assert once.next_after(SINCE - timedelta(seconds=1)) == SINCE
    assert once.next_after(SINCE) is None


def test_an_interval_begins_one_period_behind_its_anchor_even_where_the_clock_goes_back_behind_it() -> None:
    every = Every(timedelta(minutes=30), SINCE)

    assert every.next_after(SINCE) == SINCE + timedelta(minutes=30)
    assert every.next_after(SINCE - timedelta(days=1)) == SINCE + timedelta(minutes=30)


@given(words=st.text(st.sampled_from("0123456789 */-,#LWMONat@every:mshdT"), max_size=40) | st.text(max_size=30))
def test_whatever_is_written_is_read_or_refused(words: str) -> None:
    with suppress(RhythmUnreadable):
        rhythm_of(words, NEW_YORK, since=SINCE).next_after(SINCE)


FIELDS = st.tuples(
    st.sampled_from(["0", "30", "*", "*/7", "5,35", "59"]),
    st.sampled_from(["*", "2", "0", "1,2,3", "*/5", "9-17", "23"]),
    st.sampled_from(["*", "1", "31", "*/2", "L", "28-31"]),
    st.sampled_from(["*", "3", "10,11", "2"]),
    st.sampled_from(["*", "0", "MON-FRI", "7", "5#2"]),
).map(" ".join)
EXPRESSIONS = FIELDS.filter(lambda words: not ("31" in words.split()[2] and words.split()[3] == "2"))
MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2030, 1, 1)).map(lambda one: one.replace(tzinfo=UTC))  # noqa: DTZ001


@given(
    expression=EXPRESSIONS | st.sampled_from(["every 10s", "7m", "13h", "3d"]),
    zone=st.sampled_from(ZONES),
    moment=MOMENTS,
    part=st.floats(0, 0.999),
)
def test_slots_come_in_order_and_are_the_same_whenever_one_asks(
    expression: str, zone: str, moment: datetime, part: float
) -> None:
    rhythm = rhythm_of(expression, ZoneInfo(zone), since=SINCE)
    slot = rhythm.next_after(moment)
    assert slot is not None

    assert slot > moment
    assert slot.microsecond == 0
    assert rhythm.next_after(moment + part * (slot - moment)) == slot
    following = rhythm.next_after(slot)
    assert following is not None
    assert following > slot
