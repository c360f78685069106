"""What the operator's `[[tool_rules]]` come to: rules of the guard, and interceptors for the calls they are about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.agents.rules import Risk, Rule, Subject, Verdict, concerns
from app.agents.tools.interceptors import Interceptor, Interceptors, Proceed, ToolCall
from app.agents.tools.policies import RateLimit, Redact
from app.kernel.rates import rate_of
from app.tool_rows import ToolRuleRow


def rules_of(rows: Sequence[ToolRuleRow]) -> Sequence[Rule]:
    """Give those that allow, ask or deny, in their order."""
    return [_rule(row, Verdict(row.verdict)) for row in rows if row.verdict is not None]


def interceptors_of(
    rows: Sequence[ToolRuleRow], *, guards: Sequence[Interceptor], environment: Mapping[str, str]
) -> Interceptors:
    """Put those that limit and redact behind the guards; variables are read again for each call."""
    limits = [Concerning(_rule(row), RateLimit(*rate)) for row in rows if (rate := rate_of(row.rate_limit or ""))]
    redacting = [Concerning(_rule(row), _redact(row, environment)) for row in rows if row.redact]
    return Interceptors(guards, limits, redacting)


@dataclass(frozen=True, slots=True)
class Concerning:
    """An interceptor for those calls that a rule is about, whatever its verdict."""

    rule: Rule
    interceptor: Interceptor

    async def __call__(self, call: ToolCall, proceed: Proceed) -> object:
        subject = Subject(call.tool.name, call.tool.traits.risk, call.tool.origin, call.arguments)
        return await (self.interceptor(call, proceed) if concerns(self.rule, subject) else proceed(call))


def _rule(row: ToolRuleRow, verdict: Verdict = Verdict.ALLOW) -> Rule:
    risk = None if row.risk is None else Risk(row.risk)
    return Rule(verdict, row.tools, risk, row.origin, because=row.because)


def _redact(row: ToolRuleRow, environment: Mapping[str, str]) -> Redact:
    return Redact(lambda: [environment.get(name, "") for name in row.redact])
