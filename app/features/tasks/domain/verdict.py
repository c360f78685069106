"""What a heartbeat says: nothing, or a verdict with a severity. Read strictly, never guessed from words in it. Pure.

Facts
- An answer that begins with HEARTBEAT_OK, and says little else, has nothing to say. It is kept, and nobody is told.
- A verdict is one JSON object and nothing beside it, in a fence or without. Whatever else comes is a warning, with the
  text as it is: somebody should look at it, and no program pretends to know what it means.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from app.features.tasks.domain.severity import Severity
from app.features.tasks.domain.task import TaskType
from app.infra.durable.ports import RunState

QUIET = "HEARTBEAT_OK"
QUIET_LIMIT_CHARS = 300
"""an answer that says more than this behind the word has something to say"""
SUMMARY_LIMIT_CHARS = 2000
FINDINGS_LIMIT = 100

_FENCED = re.compile(r"```(?:json)?\s*\n(.*)\n\s*```", re.DOTALL | re.IGNORECASE)
_INSTRUCTIONS = f"""

---
This is a heartbeat: you are asked regularly, and nobody waits for the answer. Work through the checklist above.
If nothing needs anybody's attention, answer {QUIET} and nothing else.
Otherwise answer with one JSON object and nothing else:
{{"severity": "success" | "warning" | "error", "summary": "what is the matter", "findings": ["each thing found"]}}"""


_OF_STATE: Mapping[RunState, Severity] = {
    RunState.COMPLETED: Severity.SUCCESS,
    RunState.FAILED: Severity.ERROR,
    RunState.INTERRUPTED: Severity.WARNING,
}
"""how bad the end of a run is that gives no verdict of its own"""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`is_structured` is whether it was given as it was asked for."""

    severity: Severity
    summary: str
    findings: tuple[str, ...] = ()
    has_something_to_say: bool = True
    is_structured: bool = True


def instructed(prompt: str) -> str:
    """Say behind a checklist how to answer."""
    return prompt + _INSTRUCTIONS


def verdict_of(answer: str) -> Verdict:
    said = answer.strip()
    if said.startswith(QUIET) and len(said) <= len(QUIET) + QUIET_LIMIT_CHARS:
        return Verdict(Severity.SUCCESS, said.removeprefix(QUIET).strip(" \n.:-"), has_something_to_say=False)
    fenced = _FENCED.fullmatch(said)
    return _read(fenced[1] if fenced else said) or Verdict(
        Severity.WARNING, said[:SUMMARY_LIMIT_CHARS], is_structured=False
    )


def verdict_on(task_type: TaskType, state: RunState, answer: str) -> Verdict:
    """Tell how bad the end of a run is; but for a heartbeat that was answered its state says so."""
    if task_type is TaskType.HEARTBEAT and state is RunState.COMPLETED:
        return verdict_of(answer)
    return Verdict(_OF_STATE[state], "", is_structured=False)


def _read(text: str) -> Verdict | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    match found:
        case {"severity": str(severity), "summary": str(summary), **rest} if severity in set(Severity):
            pass
        case _:
            return None
    findings = rest.pop("findings", [])
    is_whole = not rest and summary.strip() and len(summary) <= SUMMARY_LIMIT_CHARS
    if not is_whole or not isinstance(findings, list) or len(findings) > FINDINGS_LIMIT:
        return None
    if not all(isinstance(one, str) for one in findings):
        return None
    return Verdict(Severity(severity), summary.strip(), tuple(findings))
