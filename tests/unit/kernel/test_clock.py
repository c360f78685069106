from datetime import UTC, datetime, timedelta

from app.kernel.clock import SystemClock

MARGIN = timedelta(minutes=1)


def test_the_time_is_aware_and_in_utc() -> None:
    now = SystemClock().now()

    assert now.tzinfo is UTC
    assert abs(now - datetime.now(UTC)) < MARGIN


def test_seconds_for_durations_never_run_backwards() -> None:
    clock = SystemClock()

    readings = [clock.monotonic_s() for _ in range(100)]

    assert readings == sorted(readings)
