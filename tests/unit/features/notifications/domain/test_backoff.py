"""What follows an attempt."""

from datetime import UTC, datetime

import pytest

from app.features.notifications.domain.backoff import (
    ACCEPTED,
    LONGEST_BELIEVED_S,
    MOST_ATTEMPTS,
    MOST_REFUSALS,
    Again,
    Answer,
    Attempted,
    Done,
    GiveUp,
    answer_of,
    next_step,
    seconds_of,
)

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)


def after(answer: Answer, attempts: int, *, retry_after_s: float | None = None, jitter: float = 0) -> object:
    attempted = Attempted(answer, "why", retry_after_s)
    return next_step(attempted, attempts=attempts, is_late=False, jitter=jitter)


def test_what_was_accepted_is_done_however_late() -> None:
    assert next_step(ACCEPTED, attempts=99, is_late=True, jitter=0) == Done()


@pytest.mark.parametrize(("attempts", "wait_s"), [(1, 1), (2, 2), (5, 16), (10, 512), (11, 900), (19, 900)])
def test_a_failure_is_tried_again_ever_more_slowly(attempts: int, wait_s: float) -> None:
    assert after(Answer.FAILED, attempts) == Again(wait_s, "why")


@pytest.mark.parametrize(("jitter", "wait_s"), [(-1, 6), (1, 10)])
def test_not_everybody_comes_back_at_the_same_moment(jitter: float, wait_s: float) -> None:
    assert after(Answer.FAILED, 4, jitter=jitter) == Again(wait_s, "why")


@pytest.mark.parametrize(
    ("answer", "most"), [(Answer.FAILED, MOST_ATTEMPTS), (Answer.REFUSED, MOST_REFUSALS), (Answer.GONE, 1)]
)
def test_it_is_given_up_after_so_many_attempts(answer: Answer, most: int) -> None:
    assert after(answer, most) == GiveUp("why")
    if most > 1:
        assert isinstance(after(answer, most - 1), Again)


def test_what_is_too_old_is_given_up() -> None:
    assert next_step(Attempted(Answer.FAILED, "why"), attempts=1, is_late=True, jitter=0) == GiveUp("why")


@pytest.mark.parametrize(("asked_s", "wait_s"), [(0.5, 1), (30, 30), (1e6, LONGEST_BELIEVED_S)])
def test_a_receiver_that_says_when_is_believed_within_reason(asked_s: float, wait_s: float) -> None:
    assert after(Answer.FAILED, 1, retry_after_s=asked_s) == Again(wait_s, "why")


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (200, Answer.ACCEPTED),
        (204, Answer.ACCEPTED),
        (301, Answer.REFUSED),
        (400, Answer.REFUSED),
        (404, Answer.REFUSED),
        (408, Answer.FAILED),
        (410, Answer.GONE),
        (429, Answer.FAILED),
        (500, Answer.FAILED),
        (503, Answer.FAILED),
    ],
)
def test_a_status_is_judged(status: int, answer: Answer) -> None:
    assert answer_of(status).answer is answer


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("", None),
        ("120", 120),
        ("Sat, 28 Nov 2026 12:01:00 GMT", 60),
        ("Sat, 28 Nov 2026 11:00:00 GMT", 0),
        ("Sat, 28 Nov 2026 12:01:00 -0000", None),
        ("soon", None),
        ("-5", None),
        ("9" * 40, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str | None, seconds: float | None) -> None:
    assert seconds_of(text, now=NOW) == seconds
