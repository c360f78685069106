"""Ids of runs: UUIDv7 that sort as they were made, whatever the clock does."""

import time
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest

from app.kernel.ids import RunId, new_run_id


def test_an_id_is_a_uuid_of_version_7_with_the_time_in_front() -> None:
    before_ms = time.time_ns() // 1_000_000

    run_id = new_run_id()

    assert (run_id.version, run_id.variant) == (7, "specified in RFC 4122")
    assert before_ms <= run_id.int >> 80 <= time.time_ns() // 1_000_000 + 1000


def test_ids_sort_as_they_were_made() -> None:
    made = [new_run_id() for _ in range(10_000)]

    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_threads_never_make_the_same_id() -> None:
    with ThreadPoolExecutor(8) as pool:
        made = [one for part in pool.map(lambda _: [new_run_id() for _ in range(500)], range(8)) for one in part]

    assert len(set(made)) == len(made)


def test_a_clock_that_goes_back_makes_no_earlier_id(monkeypatch: pytest.MonkeyPatch) -> None:
    first = new_run_id()
    monkeypatch.setattr(time, "time_ns", lambda: 0)

    second = new_run_id()

    assert second > first
    assert second.version == 7


@pytest.mark.parametrize("counter", [0, 1, 4095], ids=["first", "second", "last of its millisecond"])
def test_an_id_sorts_behind_one_of_another_host(counter: int) -> None:
    """However far its clock is ahead."""
    ahead_ms = time.time_ns() // 1_000_000 + 60_000 + counter
    other = RunId(UUID(int=ahead_ms << 80 | 0x7 << 76 | counter << 64 | 0b10 << 62 | (2**62 - 1)))

    behind = new_run_id(after=other)

    assert behind > other
    assert new_run_id() > behind
    assert (behind.version, behind.variant) == (7, other.variant)
