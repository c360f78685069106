"""The report of a piece of research, in Markdown: what was found out, what was not, and from where."""

from collections.abc import Mapping, Sequence

from app.features.tasks.domain.research import Finding, clipped
from app.kernel.errors import NotFound
from app.kernel.storable import storable_text
from app.kernel.values import Json

TITLE_LIMIT_CHARS = 120
REPORT_LIMIT_CHARS = 120_000
"""of all findings together; a character takes up to six bytes of the megabyte a result may have"""
SUMMARY_LIMIT_CHARS = 20_000


class ReportNotFound(NotFound):
    type = "report-not-found"
    title = "There is no report"


def write_report(
    prompt: str, *, summary: Finding, findings: Sequence[Finding], sources: Sequence[Mapping[str, Json]]
) -> str:
    """Write it; the same of the same, whoever writes it."""
    answered = [(number, one) for number, one in enumerate(findings, start=1) if one.is_answered]
    failed = [(number, one) for number, one in enumerate(findings, start=1) if not one.is_answered]
    share = REPORT_LIMIT_CHARS // max(1, len(answered))
    parts = [f"# {_line(prompt, TITLE_LIMIT_CHARS)}", "## Summary", _summary(summary), "## Findings"]
    for number, finding in answered:
        parts += [f"### {number}. {finding.question}", clipped(finding.text.strip(), share)]
    if failed:
        parts += ["## Not answered", "\n".join(f"- {number}. {one.question} ({one.problem})" for number, one in failed)]
    if sources:
        parts += ["## Sources", "\n".join(_source(number, one) for number, one in enumerate(sources, start=1))]
    return storable_text("\n\n".join(parts) + "\n")


def _summary(summary: Finding) -> str:
    if summary.is_answered:
        return clipped(summary.text.strip(), SUMMARY_LIMIT_CHARS)
    return f"No summary could be written ({summary.problem}). The findings stand for themselves."


def _source(number: int, source: Mapping[str, Json]) -> str:
    numbers = source.get("questions")
    named = ", ".join(map(str, numbers)) if isinstance(numbers, list) else ""
    title = _line(str(source.get("title") or ""), TITLE_LIMIT_CHARS).replace("[", "(").replace("]", ")")
    if source.get("url") is None:
        return f"{number}. the tool `{title}` (in {named})"
    return f"{number}. [{title or source['url']}]({source['url']}) (in {named})"


def _line(text: str, limit_chars: int) -> str:
    words = " ".join(text.split())
    return words if len(words) <= limit_chars else words[: limit_chars - 1] + "\N{HORIZONTAL ELLIPSIS}"
