import pytest

from app.agents.llm.local_model_child import StartPace, child_environment


def test_the_child_sees_no_secrets_of_ours() -> None:
    ours = {
        "PATH": "/bin",
        "LC_ALL": "C",
        "JWT_PUBLIC_KEY": "k",
        "OPENAI_API_KEY": "k",
        "POSTGRES_DSN": "postgresql://",
    }

    theirs = child_environment(ours)

    assert theirs == {"PATH": "/bin", "LC_ALL": "C", "GGML_NO_BACKTRACE": "1"}


def test_the_first_start_is_allowed_at_once() -> None:
    assert StartPace().allows(0.0)


def test_a_child_that_lived_longer_than_its_interval_is_replaced_at_once() -> None:
    pace = StartPace(jitter=lambda: 0.0)
    pace.note_start(100.0)

    assert not pace.allows(100.4)
    assert pace.allows(100.5)


def test_intervals_between_failing_starts_double_up_to_half_a_minute() -> None:
    pace = StartPace(jitter=lambda: 0.0)
    now_s, intervals_s = 100.0, []

    for _ in range(8):
        pace.note_start(now_s)
        interval_s = next(i / 2 for i in range(100) if pace.allows(now_s + i / 2))
        intervals_s.append(interval_s)
        now_s += interval_s

    assert intervals_s == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_a_minute_without_starts_forgives_earlier_ones() -> None:
    pace = StartPace(jitter=lambda: 0.0)
    for now_s in (100.0, 101.0, 103.0):
        pace.note_start(now_s)

    pace.note_start(164.0)

    assert pace.allows(164.5)


@pytest.mark.parametrize("jitter", [0.0, 0.99])
def test_jitter_lengthens_an_interval_by_half_at_most(jitter: float) -> None:
    pace = StartPace(jitter=lambda: jitter)

    pace.note_start(100.0)

    assert not pace.allows(100.49)
    assert pace.allows(100.75)
