"""Schedules: hours, what is wrong with one, and slots that were missed."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.features.tasks.domain.schedule import Misfire, Overlap, Policies, Schedule, problems
from app.kernel.values import Json

NOW = datetime(2026, 12, 1, 12, 0, 30, tzinfo=UTC)  # a Tuesday


def a_schedule(expression: str, timezone: str = "UTC", **settings: Json) -> Schedule:
    return Schedule.of(expression, timezone, settings, since=NOW)


def slots(schedule: Schedule, count: int, *, after: datetime = NOW) -> list[str]:
    found: list[str] = []
    moment = after
    for _ in range(count):
        slot = schedule.next_after(moment)
        assert slot is not None
        found.append(slot.strftime("%a %H:%M"))
        moment = slot
    return found


def test_policies_have_defaults_that_lose_nothing_and_pile_nothing_up() -> None:
    assert a_schedule("0 9 * * *").policies == Policies(Misfire.FIRE_ONCE, Overlap.SKIP, skips_unchanged=False)


@pytest.mark.parametrize(
    ("expression", "hours", "expected"),
    [
        pytest.param(
            "every 6h", {"from": "09:00", "to": "18:00"}, ["Wed 12:00", "Thu 12:00", "Fri 12:00"], id="from-to"
        ),
        pytest.param(
            "0 * * * *", {"from": "22:00", "to": "00:00"}, ["Tue 22:00", "Tue 23:00", "Wed 22:00"], id="until-midnight"
        ),
        pytest.param(
            "0 */2 * * *",
            {"from": "22:00", "to": "03:00", "days": ["fri"]},
            ["Fri 22:00", "Sat 00:00", "Sat 02:00", "Fri 22:00"],
            id="past-midnight-they-belong-to-the-day-on-which-they-began",
        ),
        pytest.param("0 9 * * *", {"days": ["mon", "sun"]}, ["Sun 09:00", "Mon 09:00"], id="days"),
    ],
)
def test_slots_are_within_the_active_hours(expression: str, hours: Json, expected: list[str]) -> None:
    assert slots(a_schedule(expression, active_hours=hours), len(expected)) == expected


def test_active_hours_are_those_of_the_timezone() -> None:
    schedule = a_schedule("0 * * * *", "America/New_York", active_hours={"from": "09:00", "to": "10:00"})

    assert slots(schedule, 2) == ["Tue 14:00", "Wed 14:00"]


@pytest.mark.parametrize(
    ("expression", "timezone", "settings", "fields"),
    [
        pytest.param("nonsense", "UTC", {}, ["schedule_expression"], id="no-time"),
        pytest.param("0 9 * * *", "Europe/Berln", {}, ["timezone"], id="no-zone"),
        pytest.param("0 9 * * *", "../../etc/passwd", {}, ["timezone"], id="no-path"),
        pytest.param("0 9 * * *", "Europe", {}, ["timezone"], id="no-folder"),
        pytest.param("x", "x/y", {"misfire": "x"}, ["timezone", "schedule_expression", "settings.misfire"], id="all"),
        pytest.param("at 2026-12-01T11:00", "UTC", {}, ["schedule_expression"], id="once-that-has-passed"),
        pytest.param("0 0 */20 * 1L", "UTC", {}, ["schedule_expression"], id="never"),
        pytest.param("0 9 * * *", "UTC", {"misfires": "skip"}, ["settings.misfires"], id="unknown-setting"),
        pytest.param("0 9 * * *", "UTC", {"overlap": 1}, ["settings.overlap"], id="no-policy"),
        pytest.param("0 9 * * *", "UTC", {"misfire": "fire_all"}, ["settings.overlap"], id="all-made-up-but-skipped"),
        pytest.param("0 9 * * *", "UTC", {"skip_unchanged": "yes"}, ["settings.skip_unchanged"], id="no-boolean"),
        pytest.param(
            "0 3 * * *",
            "UTC",
            {"active_hours": {"from": "09:00", "to": "18:00"}},
            ["settings.active_hours"],
            id="never-within-the-hours",
        ),
        pytest.param("@daily", "UTC", {"active_hours": []}, ["settings.active_hours"], id="hours-of-a-wrong-shape"),
        pytest.param(
            "@daily", "UTC", {"active_hours": {"from": "9"}}, ["settings.active_hours.from"], id="no-time-of-the-day"
        ),
        pytest.param(
            "@daily",
            "UTC",
            {"active_hours": {"from": "09:00", "to": "09:00"}},
            ["settings.active_hours.to"],
            id="no-hour",
        ),
        pytest.param(
            "@daily",
            "UTC",
            {"active_hours": {"from": "00:00", "to": "00:00"}},
            ["settings.active_hours.to"],
            id="no-hour-at-midnight",
        ),
        pytest.param(
            "@daily", "UTC", {"active_hours": {"days": ["monday"]}}, ["settings.active_hours.days"], id="no-day"
        ),
        pytest.param(
            "@daily", "UTC", {"active_hours": {"until": "1"}}, ["settings.active_hours.until"], id="unknown-key"
        ),
    ],
)
def test_what_is_wrong_is_told_field_by_field(
    expression: str, timezone: str, settings: Mapping[str, Json], fields: list[str]
) -> None:
    found = problems(expression, timezone, settings, now=NOW)

    assert [one.field for one in found] == fields
    assert all(one.message for one in found)


@pytest.mark.parametrize(
    ("expression", "timezone", "settings"),
    [
        ("0 9 * * 1-5", "Europe/Berlin", {"misfire": "fire_all", "overlap": "queue"}),
        ("every 30m", "UTC", {"overlap": "cancel_previous", "active_hours": {"days": ["sat"]}}),
        ("at 2026-12-01T12:01", "UTC", {"active_hours": None}),
        ("0 0 29 2 *", "Etc/GMT+5", {"skip_unchanged": True, "active_hours": {"from": "00:00", "to": "24:00"}}),
    ],
)
def test_what_will_come_is_no_problem(expression: str, timezone: str, settings: Mapping[str, Json]) -> None:
    assert problems(expression, timezone, settings, now=NOW) == []


COUNTED = st.sampled_from(
    [
        ("*/5 * * * *", None),
        ("0 9 * * *", None),
        ("30 2 * * *", None),
        ("@yearly", None),
        ("every 3m", None),
        ("every 25m", {"from": "09:00", "to": "17:00"}),
        ("*/5 * * * *", {"from": "20:00", "to": "04:00", "days": ["tue"]}),
        ("0 3 * * *", {"from": "20:00", "to": "04:00", "days": ["sat"]}),
    ]
)


@given(
    counted_by=COUNTED,
    passed=st.timedeltas(timedelta(0), timedelta(hours=30)),
    at_most=st.integers(1, 30),
)
def test_the_latest_of_the_missed_slots_are_those_one_would_have_counted(
    counted_by: tuple[str, dict[str, Json] | None], passed: timedelta, at_most: int
) -> None:
    expression, hours = counted_by
    schedule = a_schedule(expression, "Europe/Berlin", active_hours=hours)
    first = schedule.next_after(NOW)
    assert first is not None
    counted: list[datetime] = []
    slot: datetime | None = first
    while slot is not None and slot <= first + passed:
        counted.append(slot)
        slot = schedule.next_after(slot)

    assert schedule.latest(first, first + passed, at_most=at_most) == counted[-at_most:]


def test_years_of_missed_slots_are_looked_through_in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = a_schedule("every 10s", active_hours={"from": "09:00", "to": "10:00"})
    first = schedule.next_after(NOW)
    assert first is not None
    looks = 0
    next_after = Schedule.next_after

    def counted(self: Schedule, moment: datetime) -> datetime | None:
        nonlocal looks
        looks += 1
        return next_after(self, moment)

    monkeypatch.setattr(Schedule, "next_after", counted)

    found = schedule.latest(first, first + timedelta(days=2000), at_most=24)

    assert len(found) == 24
    assert looks < 24 * 40
