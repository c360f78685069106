"""What an operator writes under `[[tool_rules]]` comes to what happens to calls."""

from typing import Any

import pytest

from app.agents.contract import Risk, ToolContext, tool
from app.agents.llm.scripted import Call, ScriptedModel
from app.agents.rules import Subject, Verdict, judge
from app.agents.tools.policies import REDACTED
from app.agents.tools.ruled import interceptors_of, rules_of
from app.tool_rows import ToolRuleRow
from tests.fakes.journal import FakeJournal
from tests.unit.agents.desk import a_desk, a_turn, an_agent

SECRET = "hunter2-hunter2"


@tool(risk=Risk.READS)
async def look(ctx: ToolContext) -> str:
    """Look."""
    return f"seen {SECRET}"


@tool(risk=Risk.READS)
async def listen(ctx: ToolContext) -> str:
    """Listen."""
    return f"heard {SECRET}"


async def called(*rows: ToolRuleRow, names: tuple[str, ...], environment: dict[str, str] | None = None) -> list[str]:
    """Call tools one after the other, each in an answer of its own."""
    model = ScriptedModel(*[Call(name, {}) for name in names], "Done.")
    chain = interceptors_of(rows, guards=(), environment=environment or {})
    async with a_desk(an_agent(tools=[look, listen]), model=model, interceptors=chain) as desk:
        await desk.answer("helper", a_turn(), journal=FakeJournal(), timeout_s=10)
    return list(model.seen[-1].results)


async def test_calls_of_a_tool_are_limited_and_others_are_not() -> None:
    limit = ToolRuleRow(tools="lo*", rate_limit="1/hour")

    results = await called(limit, names=("look", "look", "listen", "listen"))

    assert ["too often" in result for result in results] == [False, True, False, False]


async def test_a_variables_value_is_taken_out_of_the_results_of_a_tool() -> None:
    redact = ToolRuleRow(tools="look", redact=("TOKEN",))

    results = await called(redact, names=("look", "listen"), environment={"TOKEN": SECRET})

    assert (results[0], SECRET in results[1]) == (f"seen {REDACTED}", True)


async def test_a_rule_may_go_by_risk_and_origin() -> None:
    rows = [ToolRuleRow(risk="destroys", rate_limit="1/hour"), ToolRuleRow(origin="mcp:*", rate_limit="1/hour")]

    results = await called(*rows, names=("look", "look"))

    assert not any("too often" in result for result in results)


def test_verdicts_are_rules_of_the_guard_the_first_that_fits_decides() -> None:
    rules = rules_of(
        [
            ToolRuleRow(tools="look", rate_limit="1/hour"),
            ToolRuleRow(tools="delete_draft", verdict="allow"),
            ToolRuleRow(tools="delete_*", verdict="deny", because="Nothing is deleted here."),
        ]
    )

    drafts, others = (
        judge(rules, Subject(name, Risk.DESTROYS, "function", {})) for name in ("delete_draft", "delete_x")
    )

    assert drafts.verdict is Verdict.ALLOW
    assert (others.verdict, others.because) == (Verdict.DENY, "Nothing is deleted here.")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        pytest.param({"tools": "look"}, "says nothing; give one of verdict, rate_limit, redact", id="nothing"),
        pytest.param({"verdict": "deny", "rate_limit": "1/hour"}, "says verdict and rate_limit", id="two"),
        pytest.param({"rate_limit": "ten a minute"}, "COUNT/PERIOD", id="rate"),
        pytest.param({"rate_limit": "1/hour", "because": "so"}, "goes with a verdict", id="because"),
        pytest.param({"redact": ["${TOKEN}"]}, "pattern", id="value"),
        pytest.param({"verdict": "maybe"}, "allow", id="verdict"),
        pytest.param({"colour": "red", "verdict": "deny"}, "Extra inputs", id="unknown"),
    ],
)
def test_a_row_that_says_nothing_clear_is_refused(row: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ToolRuleRow(**row)
