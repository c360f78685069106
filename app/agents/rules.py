"""Which calls of tools are made at once, which wait for a person, and which are never made: pure functions of values.

An agent's author writes rules of her own; the operator's come before them; what no rule names goes by its risk.

    Agent(..., approvals=[ask("pay", when=lambda arguments: arguments["amount"] > 100), allow("pay")])

Rule: the first that matches decides. Where a predicate fails on what a model said, a person is asked.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

from app.kernel.values import Json


class Risk(StrEnum):
    """What a call of a tool may do at worst, the mildest first."""

    READS = "reads"
    WRITES_INSIDE = "writes_inside"
    """changes nothing but the conversation itself"""
    WRITES_OUTSIDE = "writes_outside"
    DESTROYS = "destroys"


class Verdict(StrEnum):
    ALLOW = "allow"
    ASK = "ask"
    DENY = "deny"


type When = Callable[[Mapping[str, Json]], bool]


@dataclass(frozen=True, slots=True)
class Rule:
    """`tools` is a pattern of names (`delete_*`), `risk` and `origin` (a pattern, too) narrow it, `when` looks at the
    arguments the model gave. `because` is told to whoever is asked, or to the model.
    """

    verdict: Verdict
    tools: str = "*"
    risk: Risk | None = None
    origin: str = "*"
    when: When | None = None
    because: str = ""


def allow(tools: str = "*", *, risk: Risk | None = None, origin: str = "*", when: When | None = None) -> Rule:
    return Rule(Verdict.ALLOW, tools, risk, origin, when)


def ask(
    tools: str = "*", *, risk: Risk | None = None, origin: str = "*", when: When | None = None, because: str = ""
) -> Rule:
    return Rule(Verdict.ASK, tools, risk, origin, when, because)


def deny(
    tools: str = "*", *, risk: Risk | None = None, origin: str = "*", when: When | None = None, because: str = ""
) -> Rule:
    return Rule(Verdict.DENY, tools, risk, origin, when, because)


@dataclass(frozen=True, slots=True)
class Subject:
    """A call as rules look at it."""

    tool: str
    risk: Risk
    origin: str
    arguments: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Judgement:
    """`because` is in words for people, and for the model where it is refused."""

    verdict: Verdict
    because: str = ""


BY_RISK: Mapping[Risk, Judgement] = {
    Risk.READS: Judgement(Verdict.ALLOW),
    Risk.WRITES_INSIDE: Judgement(Verdict.ALLOW),
    Risk.WRITES_OUTSIDE: Judgement(Verdict.ASK, "It changes something outside of this conversation."),
    Risk.DESTROYS: Judgement(Verdict.ASK, "It destroys something, which may not be undone."),
}
DENIED = "This is not allowed here."
ASKED = "A rule says that a person is asked."


def judge(rules: Sequence[Rule], subject: Subject) -> Judgement:
    """Say what is to become of a call."""
    for rule in rules:
        verdict = _verdict(rule, subject)
        if verdict is not None:
            return Judgement(verdict, rule.because or _words(verdict, subject))
    return BY_RISK[subject.risk]


def concerns(rule: Rule, subject: Subject) -> bool:
    """Tell whether a rule is about such a call, whatever its arguments are."""
    is_named = fnmatchcase(subject.tool, rule.tools) and fnmatchcase(subject.origin, rule.origin)
    return is_named and rule.risk in (None, subject.risk)


def _verdict(rule: Rule, subject: Subject) -> Verdict | None:
    """Give what a rule says of a call; None where it says nothing."""
    if not concerns(rule, subject):
        return None
    if rule.when is None:
        return rule.verdict
    try:
        return rule.verdict if rule.when(subject.arguments) else None
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError):
        return Verdict.DENY if rule.verdict is Verdict.DENY else Verdict.ASK


def _words(verdict: Verdict, subject: Subject) -> str:
    match verdict:
        case Verdict.ALLOW:
            return ""
        case Verdict.ASK:
            return BY_RISK[subject.risk].because or ASKED
        case Verdict.DENY:
            return DENIED


class RuleUnreadable(ValueError):
    """A rule of the settings says nothing."""


def parse_rules(text: str) -> Sequence[Rule]:
    """Read `PATTERN=VERDICT,...` as operators write it: a tool's name, `risk:destroys` or `origin:mcp:*`.

    Errors: RuleUnreadable.
    """
    return [_parsed(part.strip()) for part in text.split(",") if part.strip()]


def _parsed(part: str) -> Rule:
    pattern, _, word = part.rpartition("=")
    try:
        verdict = Verdict(word.strip())
    except ValueError:
        msg = f"{part!r} must be PATTERN=allow, PATTERN=ask or PATTERN=deny"
        raise RuleUnreadable(msg) from None
    kind, _, rest = pattern.strip().partition(":")
    if kind == "risk":
        try:
            return Rule(verdict, risk=Risk(rest))
        except ValueError:
            msg = f"{part!r}: risk: goes with one of {', '.join(Risk)}"
            raise RuleUnreadable(msg) from None
    if kind == "origin" and rest:
        return Rule(verdict, origin=rest)
    if not pattern.strip() or ":" in pattern:
        msg = f"{part!r} names no tool, no risk: and no origin:"
        raise RuleUnreadable(msg)
    return Rule(verdict, tools=pattern.strip())
