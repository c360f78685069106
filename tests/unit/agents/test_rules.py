"""Which calls are made at once, which wait for a person, and which are never made."""

from collections.abc import Mapping

import pytest

from app.agents.rules import (
    Risk,
    Rule,
    RuleUnreadable,
    Subject,
    Verdict,
    allow,
    ask,
    deny,
    judge,
    parse_rules,
)
from app.kernel.values import Json

ALLOW, ASK, DENY = Verdict


def a_call(tool: str = "pay", risk: Risk = Risk.WRITES_OUTSIDE, origin: str = "function", **arguments: Json) -> Subject:
    return Subject(tool, risk, origin, arguments)


@pytest.mark.parametrize(
    ("risk", "verdict"),
    [(Risk.READS, ALLOW), (Risk.WRITES_INSIDE, ALLOW), (Risk.WRITES_OUTSIDE, ASK), (Risk.DESTROYS, ASK)],
)
def test_what_writes_outside_of_the_conversation_asks_if_no_rule_says_otherwise(risk: Risk, verdict: Verdict) -> None:
    judged = judge([], a_call(risk=risk))

    assert judged.verdict is verdict
    assert bool(judged.because) is (verdict is ASK)


def is_much(arguments: Mapping[str, Json]) -> bool:
    amount = arguments["amount"]
    assert isinstance(amount, int)
    return amount > 100


def is_more(arguments: Mapping[str, Json]) -> bool:
    return arguments["amount"] > 100  # type: ignore[operator] # as an author may write it


@pytest.mark.parametrize(
    ("rules", "call", "verdict"),
    [
        ([allow("pay")], a_call(), ALLOW),
        ([allow("pa*")], a_call(), ALLOW),
        ([allow("PAY")], a_call(), ASK),
        ([deny("pay"), allow("pay")], a_call(), DENY),
        ([deny(risk=Risk.DESTROYS)], a_call(), ASK),
        ([deny(risk=Risk.DESTROYS)], a_call(risk=Risk.DESTROYS), DENY),
        ([deny(origin="mcp:*")], a_call(origin="mcp:github"), DENY),
        ([deny(origin="mcp:*")], a_call(), ASK),
        ([ask("read", risk=Risk.READS)], a_call("read", Risk.READS), ASK),
        ([ask("pay", when=is_much), allow("pay")], a_call(amount=101), ASK),
        ([ask("pay", when=is_much), allow("pay")], a_call(amount=100), ALLOW),
        ([allow("pay", when=is_more)], a_call(), ASK),
        ([allow("pay", when=is_more)], a_call(amount="much"), ASK),
        ([deny("pay", when=is_more), allow("pay")], a_call(amount="much"), DENY),
    ],
)
def test_the_first_rule_that_matches_decides(rules: list[Rule], call: Subject, verdict: Verdict) -> None:
    assert judge(rules, call).verdict is verdict


def test_a_rule_says_why() -> None:
    assert judge([deny("pay", because="The till is closed.")], a_call()).because == "The till is closed."
    assert judge([deny("pay")], a_call()).because
    assert judge([ask("read")], a_call("read", Risk.READS)).because


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("", []),
        ("delete_*=deny, pay=allow,", [Rule(DENY, "delete_*"), Rule(ALLOW, "pay")]),
        ("risk:reads=ask", [Rule(ASK, risk=Risk.READS)]),
        ("origin:mcp:*=ask", [Rule(ASK, origin="mcp:*")]),
    ],
)
def test_operators_write_rules_as_text(text: str, rules: list[Rule]) -> None:
    assert parse_rules(text) == rules


@pytest.mark.parametrize("text", ["pay", "pay=perhaps", "=allow", "risk:harm=ask", "origin:=ask", "colour:red=ask"])
def test_a_rule_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(RuleUnreadable):
        parse_rules(text)
