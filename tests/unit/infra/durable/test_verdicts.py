"""What becomes of a run when its handler has come to an end, as a table."""

import asyncio
from dataclasses import replace

import pytest

from app.infra.durable.options import WorkerOptions
from app.infra.durable.ports import Fenced, JournalUnreadable, RunError, RunFailed, RunState, Suspended
from app.infra.durable.releases import Wait
from app.infra.durable.verdicts import (
    UNEXPECTED,
    Case,
    End,
    Raised,
    Retry,
    Returned,
    Simply,
    Stop,
    Verdict,
    judge,
    pause_s,
    told,
)
from app.kernel.errors import NotFound, TimedOut

OPTIONS = WorkerOptions("w", first_retry_s=1, longest_retry_s=60)
GONE = RunError("gone", "It is not there.")
WAIT = Wait("key", None)
PLAIN = Case(None, None, is_fenced=False, suspension=None, attempt=1, max_attempts=3)
COMPLETED = End(RunState.COMPLETED, 1)
INTERRUPTED = End(RunState.INTERRUPTED)


@pytest.mark.parametrize(
    ("case", "verdict"),
    [
        (replace(PLAIN, outcome=Returned(1)), COMPLETED),
        (replace(PLAIN, outcome=Raised(RunFailed(GONE))), End(RunState.FAILED, error=GONE)),
        (replace(PLAIN, outcome=Raised(ZeroDivisionError()), attempt=3), End(RunState.FAILED, error=UNEXPECTED)),
        (replace(PLAIN, outcome=Raised(asyncio.CancelledError()), attempt=3), End(RunState.FAILED, error=UNEXPECTED)),
        (replace(PLAIN, outcome=Raised(Suspended()), suspension=WAIT), WAIT),
        (replace(PLAIN, outcome=Raised(BaseExceptionGroup("", [Suspended()])), suspension=WAIT), WAIT),
        (replace(PLAIN, outcome=Returned(1), suspension=WAIT), COMPLETED),
        (replace(PLAIN, outcome=Raised(RunFailed(GONE)), suspension=WAIT), End(RunState.FAILED, error=GONE)),
        (replace(PLAIN, outcome=Raised(Fenced()), is_fenced=True), Simply.LEAVE),
        (replace(PLAIN, outcome=Returned(1), is_fenced=True), Simply.LEAVE),
        (replace(PLAIN, outcome=Raised(asyncio.CancelledError()), stop=Stop.LOST), Simply.LEAVE),
        (replace(PLAIN, outcome=Raised(asyncio.CancelledError()), stop=Stop.DRAINED), Simply.HAND_BACK),
        (replace(PLAIN, outcome=Returned(1), stop=Stop.DRAINED), Simply.HAND_BACK),
        (replace(PLAIN, stop=Stop.DRAINED), Simply.HAND_BACK),
        (replace(PLAIN, outcome=Raised(asyncio.CancelledError()), stop=Stop.CANCELLED), INTERRUPTED),
        (replace(PLAIN, outcome=Raised(ZeroDivisionError()), stop=Stop.CANCELLED), INTERRUPTED),
        (replace(PLAIN, outcome=Returned("half"), stop=Stop.CANCELLED), replace(INTERRUPTED, result="half")),
        (replace(PLAIN, stop=Stop.CANCELLED), INTERRUPTED),
    ],
)
def test_a_verdict_follows_from_what_happened(case: Case, verdict: Verdict) -> None:
    assert judge(case, OPTIONS) == verdict


@pytest.mark.parametrize("attempt", [1, 2])
def test_what_fails_is_tried_again_while_there_are_attempts_left(attempt: int) -> None:
    verdict = judge(replace(PLAIN, outcome=Raised(ZeroDivisionError()), attempt=attempt), OPTIONS)

    assert isinstance(verdict, Retry)


@pytest.mark.parametrize(("failures", "longest"), [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (10**6, 60)])
def test_pauses_double_up_to_a_bound_and_differ(failures: int, longest: float) -> None:
    found = {pause_s(failures, OPTIONS) for _ in range(50)}

    assert len(found) > 1
    assert all(longest / 2 <= one <= longest for one in found)


def test_facts_are_told_in_their_own_words_and_bugs_are_not() -> None:
    assert told(NotFound("No such chat.")) == RunError("not-found", "No such chat.")
    assert told(TimedOut()) == RunError("timed-out", TimedOut.title)
    assert told(ValueError("secret")) == UNEXPECTED
    assert told(None) == UNEXPECTED


def test_a_journal_that_cannot_be_read_names_both_programs() -> None:
    error = JournalUnreadable(begun_by="1", now="2").error

    assert error.type == "run-code-changed"
    assert "version 1" in error.detail
    assert "version 2" in error.detail
