"""What a heartbeat says: nothing, a verdict, or something that somebody should look at."""

import json

import pytest

from app.features.tasks.domain.severity import Severity
from app.features.tasks.domain.verdict import QUIET, QUIET_LIMIT_CHARS, Verdict, instructed, verdict_of

SAID = {"severity": "error", "summary": "The disk is full.", "findings": ["/var has 0 bytes left"]}
VERDICT = Verdict(Severity.ERROR, "The disk is full.", ("/var has 0 bytes left",))


@pytest.mark.parametrize(
    ("answer", "summary"),
    [
        (QUIET, ""),
        (f"  {QUIET}\n", ""),
        (f"{QUIET}: all 12 checks passed", "all 12 checks passed"),
        (f"{QUIET} with 0 errors, no failures", "with 0 errors, no failures"),
        (QUIET + "x" * QUIET_LIMIT_CHARS, "x" * QUIET_LIMIT_CHARS),
    ],
)
def test_nothing_to_say_is_a_success_that_nobody_is_told_of(answer: str, summary: str) -> None:
    assert verdict_of(answer) == Verdict(Severity.SUCCESS, summary, has_something_to_say=False)


@pytest.mark.parametrize(
    "answer",
    [
        json.dumps(SAID),
        json.dumps(SAID, indent=2) + "\n",
        f"```json\n{json.dumps(SAID)}\n```",
        f"```\n{json.dumps(SAID, indent=1)}\n```",
    ],
)
def test_a_verdict_is_read_as_it_was_asked_for(answer: str) -> None:
    assert verdict_of(answer) == VERDICT


def test_findings_may_be_left_out() -> None:
    said = verdict_of('{"severity": "success", "summary": "Three invoices were sent."}')

    assert said == Verdict(Severity.SUCCESS, "Three invoices were sent.")
    assert said.has_something_to_say


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param("All is well, 0 errors.", id="prose-with-a-bad-word-in-it"),
        pytest.param("ERROR ERROR success", id="prose-with-good-and-bad-words"),
        pytest.param(f"Here it is: {json.dumps(SAID)}", id="a-verdict-with-words-beside-it"),
        pytest.param(f"I would not say {QUIET}", id="the-quiet-word-elsewhere"),
        pytest.param(QUIET + "x" * (QUIET_LIMIT_CHARS + 1), id="the-quiet-word-with-much-behind-it"),
        pytest.param(json.dumps({**SAID, "severity": "fatal"}), id="an-unknown-severity"),
        pytest.param(json.dumps({**SAID, "severity": ["error"]}), id="a-severity-of-a-wrong-type"),
        pytest.param(json.dumps({**SAID, "severity": "Error"}), id="a-severity-in-other-letters"),
        pytest.param(json.dumps({**SAID, "summary": " "}), id="an-empty-summary"),
        pytest.param(json.dumps({**SAID, "summary": "x" * 2001}), id="a-summary-that-is-too-long"),
        pytest.param(json.dumps({**SAID, "findings": "none"}), id="findings-of-a-wrong-type"),
        pytest.param(json.dumps({**SAID, "findings": [{"a": 1}]}), id="a-finding-of-a-wrong-type"),
        pytest.param(json.dumps({**SAID, "findings": ["x"] * 101}), id="too-many-findings"),
        pytest.param(json.dumps({**SAID, "mood": "bad"}), id="an-unknown-key"),
        pytest.param(json.dumps([SAID]), id="a-list"),
        pytest.param("[" * 100_000, id="nested-too-deep"),
        pytest.param("", id="nothing"),
    ],
)
def test_whatever_else_is_said_is_a_warning_with_its_text(answer: str) -> None:
    said = verdict_of(answer)

    assert (said.severity, said.summary) == (Severity.WARNING, answer[:2000])
    assert said.has_something_to_say
    assert not said.is_structured


def test_a_checklist_is_followed_by_how_to_answer() -> None:
    told = instructed("- look at the disks")

    assert told.startswith("- look at the disks\n")
    assert QUIET in told
    assert all(f'"{severity}"' in told for severity in Severity)
