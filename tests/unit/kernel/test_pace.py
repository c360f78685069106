import pytest

from app.kernel.pace import Pace


def test_some_go_at_once_and_then_one_in_a_pause() -> None:
    pace, waits = Pace(0.01, at_once=3), list[float]()
    now_s = 100.0

    for _ in range(6):
        wait_s = pace.next_s(now_s)
        waits.append(wait_s)
        now_s += wait_s

    assert waits == pytest.approx([0, 0, 0.01, 0.01, 0.01, 0.01])


def test_after_a_silence_some_go_at_once_again() -> None:
    pace = Pace(0.01, at_once=3)
    for _ in range(3):
        pace.next_s(100.0)

    assert [pace.next_s(100.03) for _ in range(3)] == pytest.approx([0, 0, 0.01])
