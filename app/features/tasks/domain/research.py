"""What a piece of research is: its options, what its agents are asked, and how their answers are read.

Rule: pure, and the same each time. A handler that begins again works all of this out anew from what was kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import msgspec

from app.features.runs.domain.agent_work import OrderUnreadable
from app.kernel.errors import FieldError
from app.kernel.values import Json

KIND = "research"
"""of the runs that plan, wait and report; those that ask an agent are of the kind of every task"""
MAX_QUESTIONS = 20
DEFAULT_QUESTIONS = 10
DEFAULT_AT_ONCE = 5
MAX_AT_ONCE = 10
QUESTION_LIMIT_CHARS = 1000
ANSWER_LIMIT_CHARS = 100_000
"""of one answer: it is kept as a step, which has a megabyte"""
SHOWN_LIMIT_CHARS = 2000
"""of an answer that is shown to whoever is to mend it"""
FINDINGS_LIMIT_CHARS = 24_000
"""of all findings together, as the summary is written from them: a small model reads no more"""


@dataclass(frozen=True, slots=True)
class Options:
    """How many sub-questions there may be, and how many of them are looked into at the same time."""

    questions: int = DEFAULT_QUESTIONS
    at_once: int = DEFAULT_AT_ONCE

    @classmethod
    def of(cls, settings: Json) -> Self:
        """Read them out of a task's settings, of which the task made sure."""
        known = settings if isinstance(settings, Mapping) else {}
        given = {name: value for name, value in known.items() if isinstance(value, int)}
        return cls(given.get("questions", DEFAULT_QUESTIONS), given.get("at_once", DEFAULT_AT_ONCE))


def settings_problems(settings: Mapping[str, Json] | None) -> list[FieldError]:
    """List what cannot be of the settings of a task of this type."""
    bounds = {"questions": MAX_QUESTIONS, "at_once": MAX_AT_ONCE}
    problems = [
        FieldError(f"settings.{name}", "is no option of research; there are questions and at_once")
        for name in settings or {}
        if name not in bounds
    ]
    for name, most in bounds.items():
        value = (settings or {}).get(name, 1)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
            problems.append(FieldError(f"settings.{name}", f"must be a whole number from 1 to {most}"))
    return problems


class PlanUnreadable(ValueError):
    """What was to be a plan is none; the words say what is wrong, to whoever is to mend it."""


def read_plan(text: str, *, at_most: int) -> Sequence[str]:
    """Read sub-questions: an array of texts in JSON, alone or in one fence. Errors: PlanUnreadable."""
    body = text.strip()
    if body.startswith("```") and body.endswith("```") and "\n" in body:
        body = body[body.index("\n") : -3].strip()
    try:
        found = msgspec.json.decode(body, type=list[str])
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise PlanUnreadable(f"It is no JSON array of strings: {error}.") from error
    questions = list(dict.fromkeys(" ".join(question.split()) for question in found))
    if not 1 <= len(questions) <= at_most:
        raise PlanUnreadable(f"It must hold 1 to {at_most} different questions, and holds {len(questions)}.")
    if any(not 1 <= len(question) <= QUESTION_LIMIT_CHARS for question in questions):
        raise PlanUnreadable(f"Each question must have 1 to {QUESTION_LIMIT_CHARS} characters.")
    return questions


_SHAPE = 'Answer with JSON alone, an array of strings, and nothing before or behind it: ["first", "second"]'


def ask_for_plan(prompt: str, *, at_most: int) -> str:
    return (
        f"You plan a piece of research. This is what somebody wants to know:\n\n{prompt}\n\n"
        f"Break it into sub-questions, {at_most} at most, that together answer it. Each is given to somebody who sees "
        f"nothing but it, so it must be understood by itself.\n\n{_SHAPE}"
    )


def ask_to_mend(prompt: str, *, answer: str, problem: str, at_most: int) -> str:
    return (
        f"{ask_for_plan(prompt, at_most=at_most)}\n\nYou were asked this before, and answered:\n\n"
        f"{answer[:SHOWN_LIMIT_CHARS]}\n\nThat cannot be read. {problem} {_SHAPE}"
    )


def ask_question(prompt: str, question: str) -> str:
    return (
        f"You answer one part of a larger piece of research. The whole is:\n\n{prompt}\n\n"
        f"Your part is:\n\n{question}\n\n"
        "Answer your part only, in Markdown without headings. Give for each fact the source you have it from, as a "
        "link. If you cannot find something out, say so; do not guess."
    )


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of a sub-question: `text` is its answer, or `problem` says why there is none."""

    question: str
    text: str = ""
    problem: str = ""
    sources: Sequence[Mapping[str, Json]] = ()

    @property
    def is_answered(self) -> bool:
        return not self.problem

    @classmethod
    def of(cls, question: str, kept: Json) -> Self:
        """Read what `as_json` wrote. Errors: OrderUnreadable."""
        match kept:
            case {"text": str(text), "problem": str(problem), "sources": [*sources]}:
                return cls(question, text, problem, [source for source in sources if isinstance(source, Mapping)])
        raise OrderUnreadable

    def as_json(self) -> dict[str, Json]:
        return {"text": self.text, "problem": self.problem, "sources": [dict(source) for source in self.sources]}


def ask_for_summary(prompt: str, findings: Sequence[Finding]) -> str:
    answered = [finding for finding in findings if finding.is_answered]
    share = FINDINGS_LIMIT_CHARS // max(1, len(answered))
    parts = "\n\n".join(f"{finding.question}\n{clipped(finding.text, share)}" for finding in answered)
    return (
        f"Somebody wants to know:\n\n{prompt}\n\n"
        f"These are the answers to the questions it was broken into:\n\n{parts}\n\n"
        "Write a summary that answers what was wanted, in Markdown without headings, from these answers alone. Say "
        "what they contradict each other in, and what stays open."
    )


def too_many_failed(findings: Sequence[Finding]) -> bool:
    """Tell whether so little was found out that there is nothing to report: half of it, or less."""
    failed = sum(not finding.is_answered for finding in findings)
    return failed * 2 > len(findings)


def clipped(text: str, limit_chars: int) -> str:
    return text if len(text) <= limit_chars else text[:limit_chars] + " [cut off here]"
